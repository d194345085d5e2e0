"""Settings: the only place that reads the environment.

``FOO`` may always come from a file named in ``FOO_FILE``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from gateway_project.environment import Environment
from proxying import logs

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = Environment()
if (BASE_DIR / ".env").is_file():
    env.read_file(BASE_DIR / ".env")


def local_secret() -> str:
    """A secret key of this checkout's own, made on first use: for running on one machine without setup."""
    path = VAR_DIR / "secret_key"
    try:
        if not path.is_file():
            VAR_DIR.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(os.urandom(48).hex())
        return path.read_text()
    except OSError as problem:
        raise ImproperlyConfigured(
            f"SECRET_KEY is not set, and a key of this checkout's own cannot be kept in {path} "
            f"({problem.strerror}): set SECRET_KEY, or let this account write there."
        ) from problem


DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY") or local_secret()
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
# Browsers then send the operators' cookies over TLS only; a demo on plain HTTP could not log in.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.flag("COOKIES_SECURE", default=False)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "routing.apps.RoutingConfig",
    "proxying.apps.ProxyingConfig",
    "dashboard.apps.DashboardConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "routing.api.scripts.JSONForScripts",  # before CSRF, whose refusal is a page for people
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "gateway_project.urls"
ASGI_APPLICATION = "gateway_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database() -> dict[str, Any]:
    """The database, tuned per engine: see ``docs/deploying.md`` for the reasons."""
    config: dict[str, Any] = env.database("DATABASE_URL", f"sqlite:///{VAR_DIR / 'sluice.sqlite3'}")
    if config["ENGINE"].endswith("sqlite3"):
        # Where it cannot be made, opening the database says so.
        with contextlib.suppress(OSError):
            VAR_DIR.mkdir(parents=True, exist_ok=True)
        config["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        # A file, not memory: tests use the locking and the snapshots that production has.
        config["TEST"] = {"NAME": VAR_DIR / "test.sqlite3"}
    elif config["ENGINE"].endswith("postgresql"):
        config["CONN_MAX_AGE"] = 0
        config["OPTIONS"] = {
            # After an outage the pool's own attempts are up to minutes apart: given up soon, whoever
            # asks next starts a new one at once, so that records and the table follow within seconds.
            "pool": {"min_size": 2, "max_size": 8, "timeout": 5, "reconnect_timeout": 2},
            **config.get("OPTIONS", {}),
        }
    return config


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The shared cache: pins, tickets and health. redis:// or rediss://; empty: one worker, in its own memory.
CACHE_URL = env.cache("CACHE_URL")
# Session pins kept in memory when CACHE_URL is empty; the one not used for longest makes room. In Redis
# their time to live is the bound.
GATEWAY_PINS_MAX = env.whole("GATEWAY_PINS_MAX", 50_000)


def cache(alias: str, *, limit: int = 0, timeout_s: int | None = None) -> dict[str, Any]:
    """One cache: on the server that ``CACHE_URL`` names, or in this process, ``limit`` entries (0: any)."""
    config: dict[str, Any] = {"KEY_PREFIX": f"sluice-{alias}", "TIMEOUT": timeout_s}
    if not CACHE_URL:
        memory = "routing.cachebackends.SluiceLocMemCache"
        return {**config, "BACKEND": memory, "LOCATION": alias, "OPTIONS": {"MAX_ENTRIES": limit}}
    options: dict[str, Any] = {"socket_timeout": 1, "socket_connect_timeout": 1}
    if alias != "default":
        options["serializer"] = "routing.cachebackends.JSONSerializer"
    return {
        **config,
        "BACKEND": "routing.cachebackends.SluiceRedisCache",
        "LOCATION": CACHE_URL,
        "OPTIONS": options,
    }


CACHES = {
    "default": cache("default", limit=10_000, timeout_s=300),
    "pins": cache("pins", limit=GATEWAY_PINS_MAX, timeout_s=1800),
    "tickets": cache("tickets"),
    "health": cache("health", limit=10_000, timeout_s=600),
}

LANGUAGE_CODE = "en"
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "gateway_project.static_names.HashedWhenCollected"},
}
# Before the first collectstatic the files are served from where they lie.
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "staticfiles.json").is_file()
# WhiteNoise speaks of both at every start; its files are small, and lie in the apps until collected.
warnings.filterwarnings("ignore", message="No directory at", category=UserWarning)
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
# Every page lives with this; nothing is inline, nothing comes from another host.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
LOGIN_URL = "/admin/login/"

# --- guessed passwords: counted in the database for account and address together, so that nobody can lock an
# operator out from elsewhere; keys and tokens never come this way ---
GATEWAY_LOGIN_TRIES = env.whole("GATEWAY_LOGIN_TRIES", 10)
GATEWAY_LOGIN_PAUSE_S = env.whole("GATEWAY_LOGIN_PAUSE_S", 900)
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = GATEWAY_LOGIN_TRIES
AXES_COOLOFF_TIME = timedelta(seconds=GATEWAY_LOGIN_PAUSE_S)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "routing.admin.login.address_of"
AXES_LOCKOUT_CALLABLE = "routing.admin.login.refuse"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # trying on does not make the pause longer
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# Whose tries they were may be in the log; a password typed into the wrong field may not.
AXES_SENSITIVE_PARAMETERS = ["username"]

# --- the admin API: nothing is open unless a view says who may ---
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "routing.api.authentication.AdminTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["routing.api.permissions.HasRight"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "routing.api.errors.handle",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sluice admin API",
    "DESCRIPTION": "Switches, pools, explanations, revisions, request records and configuration.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/admin(/api)?",
    "PREPROCESSING_HOOKS": ["routing.api.openapi.one_slash_form"],
    "POSTPROCESSING_HOOKS": ["routing.api.openapi.with_refusals"],
    # Everything from this server: no network, and no inline script for the content policy to allow.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "tryItOutEnabled": True},
}

# --- the gateway; units are in the names ---
# What this installation is, for the header of every page: production, staging, ada's laptop.
GATEWAY_ENVIRONMENT = env.label("GATEWAY_ENVIRONMENT")
GATEWAY_BIND = env.bind("GATEWAY_BIND", "127.0.0.1:8000")
GATEWAY_WORKERS = env.whole("GATEWAY_WORKERS", 1)
# Proxies whose X-Forwarded-Proto and -For are believed: addresses or networks, comma separated.
GATEWAY_FORWARDED_ALLOW_IPS = env.networks("GATEWAY_FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
GATEWAY_MAX_BODY_BYTES = env.whole("GATEWAY_MAX_BODY_BYTES", 33_554_432)
# What is kept of an upload (audio, pictures) to send it to another candidate: of one, and of all of a worker.
GATEWAY_REPLAY_BYTES = env.whole("GATEWAY_REPLAY_BYTES", 8_388_608)
GATEWAY_REPLAY_TOTAL_BYTES = env.whole("GATEWAY_REPLAY_TOTAL_BYTES", 67_108_864)
GATEWAY_SESSION_HEADER = env.header("GATEWAY_SESSION_HEADER", "X-Session-ID")
GATEWAY_USER_PATH_HEADER = env.header("GATEWAY_USER_PATH_HEADER", "X-User-Path")
GATEWAY_EXPOSE_ROUTING_HEADERS = env.flag("GATEWAY_EXPOSE_ROUTING_HEADERS", default=True)
GATEWAY_EXPOSE_EXACT_MODELS = env.flag("GATEWAY_EXPOSE_EXACT_MODELS", default=True)
GATEWAY_REFRESH_INTERVAL_S = env.positive("GATEWAY_REFRESH_INTERVAL_S", 0.25)
GATEWAY_PROBE_INTERVAL_S = env.positive("GATEWAY_PROBE_INTERVAL_S", 60)
GATEWAY_TRAFFIC_KEEP_HOURS = env.positive("GATEWAY_TRAFFIC_KEEP_HOURS", 48)
GATEWAY_CONNECT_TIMEOUT_S = env.positive("GATEWAY_CONNECT_TIMEOUT_S", 5)
GATEWAY_FIRST_BYTE_TIMEOUT_S = env.positive("GATEWAY_FIRST_BYTE_TIMEOUT_S", 300)
GATEWAY_IDLE_TIMEOUT_S = env.positive("GATEWAY_IDLE_TIMEOUT_S", 120)
GATEWAY_TOTAL_TIMEOUT_S = env.positive("GATEWAY_TOTAL_TIMEOUT_S", 600)
GATEWAY_CIRCUIT_FAILURES = env.whole("GATEWAY_CIRCUIT_FAILURES", 5)
GATEWAY_CIRCUIT_OPEN_S = env.positive("GATEWAY_CIRCUIT_OPEN_S", 30)
GATEWAY_DRAIN_S = env.positive("GATEWAY_DRAIN_S", 600)
GATEWAY_ENCRYPTION_KEYS = env.words("GATEWAY_ENCRYPTION_KEYS")
GATEWAY_SECRET_ENV_ALLOW = env.words("GATEWAY_SECRET_ENV_ALLOW", ["*_KEY", "*_KEY_*", "*_TOKEN"])
GATEWAY_EGRESS_DENY_PRIVATE = env.flag("GATEWAY_EGRESS_DENY_PRIVATE", default=False)
# Spans of requests and attempts, by OTLP; needs requirements/otel.txt.
GATEWAY_OTEL = env.flag("GATEWAY_OTEL", default=False)
GATEWAY_METRICS_OPEN = env.flag("GATEWAY_METRICS_OPEN", default=False)
GATEWAY_ALLOW_ANONYMOUS = env.flag("GATEWAY_ALLOW_ANONYMOUS", default=False)
GATEWAY_LOG_FORMAT = env.one_of("GATEWAY_LOG_FORMAT", logs.FORMATS)
# Where several workers put their metrics together; prometheus_client itself reads the same variable.
PROMETHEUS_MULTIPROC_DIR = env.text("PROMETHEUS_MULTIPROC_DIR")
# Where ${NAME} in a provider's credential is looked up; routing/credentials.py applies the allow-list.
GATEWAY_SECRET_ENVIRONMENT = os.environ

LOGGING = logs.configure(GATEWAY_LOG_FORMAT)
