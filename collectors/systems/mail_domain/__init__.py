"""What DNS says of a domain that sends e-mail: SPF, DKIM and DMARC."""
