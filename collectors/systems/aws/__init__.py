"""AWS: S3 buckets, RDS and whatever else its APIs answer."""
