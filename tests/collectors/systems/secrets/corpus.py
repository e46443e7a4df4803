"""Settings as people write them. Secrets are made up, and put together here so that no scanner takes them for real."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from random import Random
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

Texts = tuple[tuple[str, str], ...]

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
SECRET_SETTINGS: Texts = (
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
    ("HTTP_BASIC", f"app:{_CANARY}"),
    ("BASIC_AUTH", f"app:{_CANARY}"),
    ("DB_PASSWORD", f"a$(B){_CANARY}"),
    ("DB_PASSWORD", f"env:{_CANARY}-1x"),
    ("DB_PASSWORD", "yes"),
    ("KEY", "4e1243bd22c66e76c2ba9eddc1f91394e57f9f83"[:32]),
    ("DOWNLOAD", f"https://files.internal/a?sv=1&sig={_CANARY}aB3dE5gH7jK9mN1pQ3sT5vX7zW2qX8vB5n"),
    ("HOOK", f"curl -s -u app:{_CANARY} https://hook.internal/"),
)

#: Files in ConfigMaps.
SECRET_FILES: Texts = (
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
    ("backup.sh", f"#!/bin/sh\nmysqldump -h db -uroot -p{_CANARY} orders > /backup\n"),
    ("wait.sh", f"#!/bin/sh\nuntil redis-cli -h redis -a '{_CANARY}' ping; do sleep 1; done\n"),
    ("copy.sh", f"#!/bin/sh\nsshpass -p {_CANARY} scp a b:\n"),
    ("report.sh", f"#!/bin/sh\nmongodump --host db -u app -p {_CANARY}\nldapsearch -D cn=app -w {_CANARY}\n"),
    ("login.sh", f"#!/bin/sh\ndocker login -u app -p {_CANARY} registry.internal\n"),
    ("push.sh", f"#!/bin/sh\nhelm registry login -u app --password {_CANARY} registry.internal\n"),
    ("users.sh", f"#!/bin/sh\nrabbitmqctl add_user app {_CANARY}\n"),
    ("init.sql", f"CREATE USER app WITH PASSWORD '{_CANARY}';\n"),
    ("mysql.sql", f"CREATE USER 'app'@'%' IDENTIFIED BY '{_CANARY}';\n"),
    ("userlist.txt", f'"app" "{_CANARY}"\n"other" "md50123456789abcdef"\n'),
    ("htpasswd", f"app:{{PLAIN}}{_CANARY}\nother:$apr1$a$b\n"),
    ("haproxy.cfg", f"userlist staff\n  user app insecure-password {_CANARY}\n"),
    ("sentinel.conf", f"port 26379\nsentinel auth-pass mymaster {_CANARY}\n"),
    ("backwards.yaml", f"env:\n- value: {_CANARY}\n  name: DB_PASSWORD\n"),
    ("nginx.conf", f'server {{\n  proxy_set_header Authorization "Bearer {_CANARY}abcdef123456";\n}}'),
)

ARGUMENTS: tuple[tuple[str, ...], ...] = (
    (f"--password={_CANARY}",),
    ("--password", f"{_CANARY}"),
    ("redis-server", "--requirepass", f"{_CANARY}"),
    (f"--db-url=postgres://app:{_CANARY}@db/orders",),
    ("sh", "-c", f"export DB_PASSWORD={_CANARY}; exec app"),
    ("-D", f"-Ddb.password={_CANARY}"),
    ("curl", "-u", f"app:{_CANARY}", "http://hook.internal"),
    ("sh", "-c", f"mysql -uroot -p{_CANARY} -e 'SELECT 1'"),
    ("redis-cli", "-a", _CANARY, "ping"),
    ("keytool", "-list", "-storepass", _CANARY),
    ("psql", "-c", f"ALTER USER app PASSWORD '{_CANARY}'"),
)

#: Further ones, which are not in the table of agreement with gitleaks.
FURTHER_SETTINGS: Texts = (
    ("HEADER", f"Authorization: Token {_RANDOM}"),
    ("ENROLMENT", "otpauth://totp/shop:app?secret=" + "JBSWY3DPEHPK3PXP"),
    ("JWK", '{"kty":"oct","k":"' + _RANDOM + '"}'),
    ("JWK", '{"kty":"RSA","n":"abc","e":"AQAB","d":"' + _RANDOM + '"}'),
    ("LDAP_BIND_PW", f"{_CANARY}7"),
    ("REDIS_AUTH", f"{_CANARY}7"),
    ("KENNWORT", f"{_CANARY}7"),
    ("MOT_DE_PASSE", f"{_CANARY}7"),
    ("WALLET_MNEMONIC", "legal winner thank year wave sausage worth useful legal winner thank yellow"),
    ("NEO4J_AUTH", f"neo4j/{_CANARY}7"),
    ("ENDPOINT", f"https://api.internal/v1?api_key={_RANDOM}"),
    ("DATA_KEY", "9f86d081884c7d659a2feaa0c55ad015" * 2),
    ("ENCODED", f"postgres%3A%2F%2Fapp%3A{_CANARY}%40db%2Forders"),
)
FURTHER_FILES: Texts = (
    ("wp-config.php", f"<?php\ndefine( 'DB_PASSWORD', '{_CANARY}7' );\n"),
    (".npmrc", f"//registry.internal/:_authToken={_RANDOM}\n"),
    ("fluent.conf", f"<match **>\n  user app\n  password {_CANARY}7\n</match>\n"),
    ("fluent-bit.conf", f"[OUTPUT]\n    HTTP_User app\n    HTTP_Passwd {_CANARY}7\n"),
    ("sssd.conf", f"[domain/x]\nldap_default_authtok = {_CANARY}7\n"),
    ("ipsec.secrets", f'vpn.internal : PSK "{_CANARY}7"\n'),
    ("sasl_passwd", f"[mail.internal]:587 app:{_CANARY}7\n"),
    ("supervisord.conf", f'[program:a]\nenvironment=DB_PASSWORD="{_CANARY}7",X="1"\n'),
    ("squid.conf", f"cache_peer p parent 3128 0 login=user:{_CANARY}7\n"),
    ("ftp.sh", f"lftp -u app,{_CANARY}7 ftp.internal\n"),
    ("mc.sh", f"mc alias set s http://minio:9000 app {_CANARY}7\n"),
    ("aws.sh", f"aws configure set aws_secret_access_key {_RANDOM}\n"),
    ("users.sh", f"htpasswd -b -c f app {_CANARY}7\necho 'app:{_CANARY}7' | chpasswd\n"),
    ("named.conf", f'key "rndc" {{\n  algorithm hmac-sha256;\n  secret "{_encoded(_RANDOM)}";\n}};\n'),
    ("mosquitto.conf", f"connection b\nremote_username a\nremote_password {_CANARY}7\n"),
    ("traefik.toml", f'[http.middlewares.a.basicAuth]\n  users = ["app:{_CANARY}7"]\n'),
    ("nginx.conf", f"location / {{ proxy_set_header X-Api-Key {_RANDOM}; }}\n"),
)
FURTHER_ARGUMENTS: tuple[tuple[str, ...], ...] = (
    ("--basic-auth", f"app:{_CANARY}7"),
    ("--user", f"app:{_CANARY}7"),
    ("sh", "-c", f"echo {_CANARY}7 | passwd --stdin app"),
)

#: What looks like a secret by its name or form, and is none.
HARMLESS_SETTINGS: Texts = (
    ("PASSWORD_SECRET", "db-secret"),
    ("EXISTING_SECRET", "prod-secret"),
    ("TOKEN_AUDIENCE", "api"),
    ("LOGGERS", "com.acme.test"),
    ("ACCOUNT_ID", "123456789012"),
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
    ("REQUIRE_PASSWORD", "yes"),
    ("ALLOW_EMPTY_PASSWORD", "no"),
    ("AUTHORIZATION", "Bearer $(TOKEN)"),
    ("DB_PASSWORD", "env:ORDERS_PASSWORD"),
    ("BASIC_AUTH_REALM", "shop:staff"),
    ("HOOK", "curl -u app:$(PASSWORD) https://hook.internal/"),
    ("checksum/credentials", "0a9b8c7d6e5f40a9b8c7d6e5f40a9b8c7d6e5f40a9b8c7d6e5f40a9b8c7d6e5f"),
    ("ENVIRONMENT", "production"),
    ("PAYPAL_MODE", "live"),
    ("LOG_MODE", "debug"),
    ("VIRTUAL_ENV", "/opt/venv"),
    ("PUBLIC_URL", "https://shop.internal"),
    ("KAFKA_BROKERS", "kafka-0:9092,kafka-1:9092"),
    ("PASSWORD_SECRET", "orders-db"),
    ("PASSWORD_HASH", "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
    ("ADMIN_PASSWORD", "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
)

FURTHER_HARMLESS: Texts = (
    ("PARTITION_KEY", "9f86d081884c7d659a2feaa0c55ad015"),
    ("REDIS_AUTH", "true"),
    ("NEO4J_AUTH", "none"),
    ("SEARCH", "https://api.internal/v1?token=$(TOKEN)"),
    ("DEVOPS_URL", "https://dev.azure.com/acme"),
    ("RESULTS", "https://results.acme.com/test/run"),
    ("HINT", "password reset by mail"),
    ("JWK", '{"kty":"RSA","n":"abc","e":"AQAB"}'),
    ("ALLOWED_HOSTS", "localhost,shop.acme.com"),
    ("STRIPE_PUBLISHABLE_KEY", "pk_" + "live_51H8abcdEFGHijklMNOPqrst"),
)

HARMLESS_FILES: Texts = (
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
    ("init.sql", "CREATE USER app WITH PASSWORD :'password';\nALTER USER app PASSWORD '${PASSWORD}';\n"),
    (
        "usage.sh",
        'echo "usage: app --password PASSWORD [--token TOKEN]"\ndocker login -u app --password-stdin\nx --password "$P"\n',
    ),
    (
        "pairs.yaml",
        "env:\n- name: LEVEL\n  value: debug-level-1\n- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef: {}\n",
    ),
    ("setup.sh", 'redis_credentials=":$(encode "$REDIS_PASSWORD")"\npair_credentials="$USER:$PASSWORD"\n'),
    (
        "load.sh",
        'curl -u "$USER:$PASSWORD" https://hook.internal/\nmysql -p"$PASSWORD" orders\nredis-cli -a "$PASSWORD" ping\n',
    ),
    ("messages.properties", "login.title=Log in\nlogin.hint=Enter your user name\n"),
)

PLACEHOLDERS: Texts = (
    ("DB_PASSWORD", "changez-moi"),
    ("DB_PASSWORD", "hier_passwort_eintragen"),
    ("DB_PASSWORD", "bitte-aendern"),
    ("DB_PASSWORD", "contraseña"),
    ("DB_PASSWORD", "mot-de-passe"),
    ("DB_PASSWORD", "do-not-use-in-production"),
    ("DB_PASSWORD", "changeInProd"),
    ("DB_PASSWORD", "not-a-real-password"),
    ("DB_PASSWORD", "dummypassword"),
    ("DB_PASSWORD", "test1234"),
    ("DB_PASSWORD", "1234567890"),
    ("DB_PASSWORD", "dev-only-password"),
    ("API_TOKEN", "insert-token"),
    ("API_TOKEN", "REDACTED"),
    ("OPENAI_API_KEY", "sk-REPLACE"),
    ("OPENAI_API_KEY", "your-openai-key"),
    ("API_URL", "https://api.acme.test/v1"),
    ("ADMIN_EMAIL", "foo@bar.com"),
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
    ("ENVIRONMENT", "staging"),
    ("SENTRY_ENVIRONMENT", "dev"),
    ("GIN_MODE", "debug"),
    ("PAYPAL_MODE", "sandbox"),
    ("DJANGO_SETTINGS_MODULE", "shop.settings.local"),
    ("PAYPAL_URL", "https://api-m.sandbox.paypal.com/v1"),
    ("DB_PASSWORD", "P@ssw0rd!"),
    ("ADMIN_PASSWORD", "Password123"),
    ("ADMIN_PASSWORD", "admin123"),
    ("DATABASE_URL", "postgres://app@host.docker.internal/orders"),
    ("KAFKA_BROKERS", "localhost:9092"),
    ("ELASTIC_URL", "http://127.0.0.1:9200"),
    ("BASE_URL", "http://localhost:3000"),
    ("MAIL_FROM", "test@test.com"),
    ("RECAPTCHA_KEY", "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ_MXjiZKhI"),
)


FURTHER_PLACEHOLDERS: Texts = (
    ("NEO4J_AUTH", "neo4j/neo4j"),
    ("SA_PASSWORD", "YourStrong!Passw0rd"),
    ("ANALYTICS", "G-XXXXXXX"),
    ("TENANT", "00000000-0000-0000-0000-000000000000"),
    ("HOOK", "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"),
    ("SMTP_HOST", "mailhog"),
    ("SMTP_HOST", "sandbox.smtp.mailtrap.io"),
    ("QUARKUS_PROFILE", "dev"),
    ("API_URL", "https://api.staging.acme.com"),
    ("ENCRYPTION_KEY", "0123456789abcdef0123456789abcdef"),
    ("ENCRYPTION_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ("API_KEY", "%API_KEY%"),
    ("AWS_ENDPOINT_URL", "http://localstack:4566"),
    ("AWS_ACCESS_KEY_ID", "test"),
    ("STORAGE", "UseDevelopmentStorage=true"),
    ("FIRESTORE_EMULATOR_HOST", "firestore:8080"),
    ("MOCK_PAYMENTS", "true"),
)


_HEX, _LOWER, _UPPER, _ALL = (
    "0123456789abcdef",
    ascii_lowercase + digits,
    ascii_uppercase + digits,
    ascii_letters + digits,
)
#: Tokens as services make them: parts that are always the same, and the length and alphabet of the others.
_SERVICES: tuple[tuple[str | tuple[int, str], ...], ...] = (
    ("ghp", "_", (36, _ALL)), ("github", "_pat_", (82, _ALL)), ("ghs", "_", (36, _ALL)), ("glpat", "-", (20, _ALL)),
    ("glrt", "-", (20, _ALL)), ("gldt", "-", (20, _ALL)), ("xoxb", "-", (12, digits), "-", (12, digits), "-", (24, _ALL)),
    ("https://hooks.slack.com/services", "/T", (8, _UPPER), "/B", (10, _UPPER), "/", (24, _ALL)), ("sk", "_live_", (24, _ALL)),
    ("rk", "_live_", (24, _ALL)), ("npm", "_", (36, _ALL)), ("pypi", "-AgEIcHlwaS5vcmc", (70, _ALL)),
    ("sk", "-proj-", (74, _ALL), "T3Blbk", "FJ", (74, _ALL)), ("sk", "-ant-api03-", (93, _ALL), "AA"), ("AI", "za", (35, _ALL)),
    ("hv", "s.", (95, _ALL)), ("dop", "_v1_", (64, _HEX)), ("dp", ".pt.", (43, _ALL)), ("shp", "at_", (32, _HEX)),
    ("dapi", (32, _HEX)), ("gl", "sa_", (32, _ALL), "_", (8, _HEX)), ("gl", "c_", (60, _ALL)), ("lin", "_api_", (40, _ALL)),
    ("NR", "AK-", (27, _UPPER)), ("pscale", "_tkn_", (43, _ALL)), ("PM", "AK-", (24, _HEX), "-", (34, _HEX)),
    ("sq0", "atp-", (22, _ALL)), ("S", "G.", (22, _ALL), ".", (43, _ALL)), ("S", "K", (32, _HEX)), ("key", "-", (32, _HEX)),
    ((10, digits), ":AA", (33, _ALL)), ("h", "f_", (34, ascii_letters)), ((14, _ALL), ".atlas", "v1.", (67, _ALL)),
    ("https://discord.com/api/webhooks/", (18, digits), "/", (68, _ALL)), ("ATATT3x", "FfGF0", (180, _ALL)),
    ("dckr", "_pat_", (27, _ALL)), ("rubygems", "_", (48, _HEX)), ("sntrys", "_eyJpYXQiO", (60, _ALL), "_", (43, _ALL)),
    ("sntryu", "_", (64, _HEX)), ("pul", "-", (40, _HEX)), ("pnu", "_", (36, _LOWER)), ("rdme", "_", (70, _LOWER)),
    ("FLWSECK", "-", (32, _HEX), "-X"), ("tfp", "_", (59, _ALL)), ("ntn", "_", (11, digits), (35, _ALL)), ("sbp", "_", (40, _HEX)),
    ("dt0c01", ".", (24, _UPPER), ".", (64, _UPPER)), ("v1.0", "-", (24, _HEX), "-", (146, _HEX)), ("pplx", "-", (48, _ALL)),
    ("LT", "AI", (20, _ALL)), ("sm", "_pat_", (16, _ALL)), ("sha256", "~", (43, _ALL)), ("s-s4t2ud", "-", (64, _HEX)),
    ("pat", ".", (22, _ALL), ".", (24, _HEX), ".", (20, _ALL)), ("API", "-", (26, _UPPER)), ("shippo", "_live_", (40, _HEX)),
    ("sgp", "_", (16, _HEX), "_", (40, _HEX)),
)  # fmt: skip


def service_tokens() -> Texts:
    """Return a token of each service, under a name that says nothing; the same ones each time."""
    chosen = Random(7)

    def part(one: str | tuple[int, str]) -> str:
        return one if isinstance(one, str) else "".join(chosen.choice(one[1]) for _ in range(one[0]))

    return tuple(("VALUE", "".join(map(part, parts))) for parts in _SERVICES)


def canary() -> str:
    """Return what is in every secret of the corpus but the account numbers and the digits."""
    return _CANARY


def every_secret() -> Iterator[tuple[str, str]]:
    """Return each setting and file that holds a secret."""
    yield from SECRET_SETTINGS
    yield from SECRET_FILES
