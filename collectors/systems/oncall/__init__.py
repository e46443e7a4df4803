"""Who is on call: PagerDuty, Opsgenie, or any API that answers in JSON."""
