"""Settings as people write them. Secrets are made up, and put together here so that no scanner takes them for real."""

from __future__ import annotations

import base64
from collections.abc import Iterator

_CANARY = "cAn4ry"

_JWT = ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJzaG9wIn0", f"{_CANARY}Xk2v9Qm1Lr8Tz5Wb7Yd3Nf6"))
_PEM = f"-----BEGIN {'RSA PRIVATE'} KEY-----\nMIIE{_CANARY}vQIBADANBgkq\n-----END {'RSA PRIVATE'} KEY-----"
_STRIPE = "sk_" + "live_" + f"{_CANARY}51H8abcdEFGHijklMNOPqr"
_GITHUB = "ghp" + "_" + f"{_CANARY}A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5"
_SLACK = "xoxb" + f"-123456789012-123456789012-{_CANARY}AbCdEfGhIjKlMnOpQr"
_AWS_ID = "AKIA" + "QWERTY1234567890"
_AWS_KEY = f"{_CANARY}9Kd/3jfLq0+Zx81mNbVcXzPoIuYtRe+W"
_RANDOM = f"{_CANARY}3kP9zR7tW2qX8vB5nM1jH6gF4dS0a"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


#: Environment variables, or entries of a ConfigMap of one line.
SECRET_SETTINGS: tuple[tuple[str, str], ...] = (
    ("DB_PASSWORD", f"{_CANARY}-hunter2"),
    ("PGPASSWORD", f"{_CANARY}"),
    ("MYSQL_PWD", f"{_CANARY}x"),
    ("dbPassword", f"{_CANARY}y"),
    ("SMTP_PASS", f"{_CANARY}z"),
    ("REDIS_PASSWORD_2", f"{_CANARY}12"),
    ("JWT_SECRET", f"super-{_CANARY.lower()}"),
    ("SECRET_KEY_BASE", _RANDOM),
    ("API_KEY", f"{_CANARY}-1234"),
    ("AWS_SECRET_ACCESS_KEY", _AWS_KEY),
    ("AWS_ACCESS_KEY_ID", _AWS_ID),
    ("AUTHTOKEN", f"{_CANARY}abc"),
    ("STRIPE", _STRIPE),
    ("GITHUB", _GITHUB),
    ("SLACK", _SLACK),
    ("SESSION", _JWT),
    ("DATABASE_URL", f"postgres://app:{_CANARY}@db:5432/orders"),
    ("DATABASE_URL", f"postgres://app:{_CANARY}/with/slash@db:5432/orders"),
    ("MYSQL_DSN", f"app:{_CANARY}@tcp(db:3306)/orders"),
    ("BROKER", f"amqp://app:{_CANARY}@rabbit//"),
    ("PROXY", f"http://user:{_CANARY}@proxy:3128"),
    ("CONNECTION", f"Server=db;User Id=app;Password={_CANARY};"),
    ("STORAGE", f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={_CANARY}abcdef==;"),
    ("TLS_KEY", _PEM),
    ("TLS_KEY_B64", _encoded(_PEM)),
    ("SETTINGS_B64", _encoded(f"url=postgres://app:{_CANARY}@db/orders")),
    ("AUTHORIZATION", f"Basic {_encoded(f'app:{_CANARY}')}"),
    ("JAVA_OPTS", f"-Xmx1g -Djavax.net.ssl.keyStorePassword={_CANARY} -Dx=y"),
    ("DB_PASSWORD", f"${{DB_PASSWORD:-{_CANARY}}}"),
    ("FERNET", _RANDOM),
    ("ENCRYPTION_KEY", _RANDOM),
    ("DJANGO_SECRET_KEY", f"django-insecure-{_CANARY}"),
    ("PIN_PASSWORD", "4711471147"),
    ("ENCRYPTIONKEY", f"{_CANARY}abcd"),
    ("DB_PASSWORD", f"@{_CANARY}"),
    ("DB_PASSWORD", f"!{_CANARY}"),
    ("DB_PASSWORD", f"/{_CANARY}"),
    ("DB_PASSWORD", f"<{_CANARY}1>"),
    ("SPRING_DATASOURCE_URL", f"jdbc:postgresql://db/orders?user=app&password={_CANARY}"),
    ("CONNECTION", f"mongodb+srv://app:{_CANARY}@c0.internal/orders"),
    ("REDIS_URL", f"redis://:{_CANARY}@redis:6379"),
    ("POSTGRES_PASSWORD", f"{_CANARY} horse"),
    ("DB_CREDENTIALS", f"app:{_CANARY}"),
)

#: Files in ConfigMaps.
SECRET_FILES: tuple[tuple[str, str], ...] = (
    ("application.yaml", f"spring:\n  datasource:\n    username: app\n    password: {_CANARY}\n"),
    ("application.properties", f"db.user=app\nspring.datasource.password={_CANARY}\n"),
    ("config.json", f'{{"db": {{"user": "app", "password": "{_CANARY} with spaces"}}}}'),
    ("config.ini", f"[db]\nuser = app\npassword = {_CANARY}\n"),
    ("settings.toml", f'[db]\napi_key = "{_CANARY}-1234"\n'),
    (".env", f"USER=app\nexport API_TOKEN={_CANARY}\n"),
    ("redis.conf", f"port 6379\nrequirepass {_CANARY}\n"),
    ("users.acl", f"user default off\nuser app on ~* +@all >{_CANARY}\n"),
    (".pgpass", f"# host\ndb:5432:orders:app:{_CANARY}\n"),
    (".netrc", f"\nmachine api.shop.internal login app password {_CANARY}\n"),
    ("server.xml", f"<server>\n  <password>{_CANARY}</password>\n</server>"),
    ("web.xml", f'<x>\n<property name="password" value="{_CANARY}"/>\n</x>'),
    ("pod.yaml", f"env:\n  - name: DB_PASSWORD\n    value: {_CANARY}\n"),
    ("config.json", '{"auths": {"registry": {"auth": "' + _encoded(f"app:{_CANARY}") + '"}}}'),
    ("key.pem", _PEM + "\n"),
    ("notes.txt", f"some\ntext with {_GITHUB} in it\n"),
    ("commented.yaml", f"a: b\n# token: {_GITHUB}\n"),
    ("go.yaml", f"a: b\ndsn: app:{_CANARY}@tcp(db:3306)/orders\n"),
    ("settings.toml", f'[api]\ntoken = """{_CANARY}-123"""\n'),
    ("block.yaml", f"a: b\nsecretKey: >-\n  {_CANARY}abcdefghij12345\n"),
    ("odbc.ini", f"[db]\nPWD={_CANARY}\n"),
    ("alertmanager.yml", f"global:\n  smtp_auth_password: '{_CANARY}'\n"),
    ("default.yaml", f"db:\n  password: ${{DB_PASSWORD:{_CANARY}}}\n"),
    ("nginx.conf", f'server {{\n  proxy_set_header Authorization "Bearer {_CANARY}abcdef123456";\n}}'),
)

ARGUMENTS: tuple[tuple[str, ...], ...] = (
    (f"--password={_CANARY}",),
    ("--password", f"{_CANARY}"),
    ("redis-server", "--requirepass", f"{_CANARY}"),
    (f"--db-url=postgres://app:{_CANARY}@db/orders",),
    ("sh", "-c", f"export DB_PASSWORD={_CANARY}; exec app"),
    ("-D", f"-Ddb.password={_CANARY}"),
)

#: What looks like a secret by its name or form, and is none.
HARMLESS_SETTINGS: tuple[tuple[str, str], ...] = (
    ("DB_PASSWORD_FILE", "/run/secrets/db"),
    ("PASSWORD_FILE", "/run/secrets/db"),
    ("DB_PASSWORD", "$(DB_PASSWORD_FROM_SECRET)"),
    ("DB_PASSWORD", "${DB_PASSWORD}"),
    ("DB_PASSWORD", "vault:secret/data/orders#password"),
    ("DB_PASSWORD", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:orders"),
    ("DB_PASSWORD", "ENC[AES256_GCM,data:abc]"),
    ("DB_PASSWORD", ""),
    ("DATABASE_URL", "postgres://app:$(DB_PASSWORD)@db:5432/orders"),
    ("DATABASE_URL", "postgres://app:${DB_PASSWORD}@db:5432/orders"),
    ("DATABASE_URL", "postgres://app@db:5432/orders"),
    ("BASE_URL", "https://shop.internal:8443/users/@me"),
    ("FLAG_PASSWORD_RESET_ENABLED", "true"),
    ("REQUIRE_PASSWORD", "true"),
    ("TOKEN_TTL", "3600"),
    ("SESSION_TOKEN", "3600"),
    ("MAX_TOKENS", "4096"),
    ("JWT_PUBLIC_KEY", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA1a2b3c4d5e6f7g8h"),
    ("API_KEY_HEADER", "X-Api-Key"),
    ("API_KEY_PREFIX", "shop_"),
    ("TLS_SECRET", "shop-tls"),
    ("IMAGE_PULL_SECRET", "registry-credentials"),
    ("SECRET_NAME", "orders-db"),
    ("PARTITION_KEY", "customer_id"),
    ("CACHE_KEY", "orders:v1"),
    ("GIT_SHA", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("COMMIT", "9fceb02d0ae598e95dc970b74767f19372d61af8"),
    ("IMAGE", "registry.internal/shop@sha256:9fceb02d0ae598e95dc970b74767f19372d61af89fceb02d0ae598e95dc970b7"),
    ("TENANT_ID", "5f0c6a6e-55a2-4f6e-9d0b-1c2d3e4f5a6b"),
    ("SENTRY_DSN", "https://9fceb02d0ae598e95dc970b74767f193@sentry.internal/4"),
    ("OAUTH_TOKEN_URL", "https://login.shop.internal/token"),
    ("TOKEN", "https://login.shop.internal/token"),
    ("NODE_ENV", "production"),
    ("DEBUG", "false"),
    ("LOG_LEVEL", "info"),
    ("DB_HOST", "orders-db.shop.svc"),
    ("COMPASS", "north"),
    ("SSH_KEY_PATH", "/etc/keys/id"),
    ("PRIVATE_KEY", "/etc/keys/tls.key"),
    ("GREETING", "Enter your password"),
    ("TITLE", "Change it in settings"),
    ("NO_PROXY", "localhost,127.0.0.1,.svc"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"),
    ("DB_USER", "postgres"),
    ("CIPHERS", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
    ("CLASS", "org.springframework.boot.autoconfigure.jdbc.DataSourceAutoConfiguration"),
    ("PASSWORD_HASH", "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
    ("ADMIN_PASSWORD", "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
)

HARMLESS_FILES: tuple[tuple[str, str], ...] = (
    (
        "application.yaml",
        "spring:\n  datasource:\n    password: ${DB_PASSWORD}\n    url: jdbc:postgresql://db/orders\n",
    ),
    ("values.yaml", "auth:\n  existingSecret: orders-db\n  secretName: orders\n  passwordKey: password\n"),
    (
        "pod.yaml",
        "env:\n- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: orders-db\n      key: password\n",
    ),
    ("redis.conf", "port 6379\n# requirepass foobared\nsave 60 1\n"),
    ("prometheus.yml", "scrape_configs:\n- job_name: x\n  bearer_token_file: /var/run/secrets/token\n"),
    ("nginx.conf", "server {\n  listen 80;\n  ssl_certificate_key /etc/tls/tls.key;\n}\n"),
    ("logback.xml", "<configuration>\n  <pattern>%d %-5level token=%X{token} %msg</pattern>\n</configuration>\n"),
    ("script.sh", '#!/bin/sh\nexport PGPASSWORD="$DB_PASSWORD"\npsql -c "select 1"\n'),
    ("settings.py", "import os\nSECRET_KEY = os.environ['SECRET_KEY']\nPASSWORD = os.getenv('P')\n"),
    ("config.js", "module.exports = {\n  token: process.env.TOKEN,\n}\n"),
    ("web.yml", "basic_auth_users:\n  admin: $2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234\n"),
    ("ca.crt", "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUe1\n-----END CERTIFICATE-----\n"),
    ("alloy.hcl", 'remote.x "a" {\n  password = env("P")\n  bearer_token = sys.env("T")\n}\n'),
    ("init.sh", "#!/bin/bash\nPASSWORD=$(cat /run/secrets/pw)\nTOKEN=`cat x`\n"),
    ("wait.sh", 'if [ -z "$PASSWORD" ]; then\n echo "password: missing"\nfi\n'),
    ("en.json", '{"login":{"password":"Password","forgot.password":"Forgot your password?","token":"Token"}}'),
    ("crd.yaml", "properties:\n  password:\n    type: string\n  token:\n    description: the token\n"),
    ("pg_hba.conf", "# TYPE\nhost all all 10.0.0.0/8 scram-sha-256\nhost all all ::1/128 trust\n"),
    ("messages.properties", "login.title=Log in\nlogin.hint=Enter your user name\n"),
)

PLACEHOLDERS: tuple[tuple[str, str], ...] = (
    ("API_KEY", "changeme"),
    ("API_KEY", "CHANGE-ME"),
    ("ADMIN_PASSWORD", "change_me_please"),
    ("API_KEY", "your-api-key"),
    ("API_KEY", "YOUR_API_KEY_HERE"),
    ("HOST", "https://yourdomain.com"),
    ("API_KEY", "<api-key>"),
    ("API_KEY", "sk-xxxx"),
    ("API_KEY", "xxxxxxxx"),
    ("API_KEY", "TODO"),
    ("API_KEY", "replace-me"),
    ("API_KEY", "placeholder"),
    ("DB_PASSWORD", "postgres"),
    ("DB_PASSWORD", "password"),
    ("JWT_SECRET", "your-256-bit-secret"),
    ("DATABASE_URL", "postgres://postgres:postgres@db/orders"),
    ("DATABASE_URL", "postgres://app:changeme@db/orders"),
    ("DATABASE_URL", "postgresql+psycopg://localhost:5432/orders"),
    ("REDIS_URL", "redis://127.0.0.1:6379/0"),
    ("DB_HOST", "localhost"),
    ("MAIL_FROM", "shop@example.com"),
    ("BASE_URL", "https://api.example.org/v1"),
    ("NODE_ENV", "development"),
    ("SPRING_PROFILES_ACTIVE", "k8s,dev"),
    ("APP_DEBUG", "true"),
    ("DEBUG", "*"),
    ("STRIPE_KEY", "sk_" + "test_" + "4eC39HqLyjWDarjtT1zdp7dc"),
    ("AWS_ACCESS_KEY_ID", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("API_KEY", "{{ .Values.apiKey }}"),
    ("KEYSTORE_PASSWORD", "changeit"),
)


def canary() -> str:
    """Return what is in every secret of the corpus but the account numbers and the digits."""
    return _CANARY


def every_secret() -> Iterator[tuple[str, str]]:
    """Return each setting and file that holds a secret."""
    yield from SECRET_SETTINGS
    yield from SECRET_FILES
