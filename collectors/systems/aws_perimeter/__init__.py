"""What AWS lets in from the internet: security groups, web ACLs of WAF, Shield."""
