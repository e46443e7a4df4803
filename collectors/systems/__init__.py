"""Everything that is known of the systems that sections verify, a package each: client asks, model understands, judge decides."""
