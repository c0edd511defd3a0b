"""A site that wants one to sign in, with Django's own sessions, forms and CSRF
protection, served by Django's own server. Its arguments are the port, the
lifetime of a session in whole seconds, a user and a password."""

import json
import sys
import threading
import time

import django
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

port, lifetime, username, password = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]

settings.configure(
    SECRET_KEY="for tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django.sqlite", "OPTIONS": {"timeout": 30}}},
    # Sessions are in this process, and end with it.
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    LOGIN_URL="/login/",
    USE_TZ=True,
)
django.setup()

# What needs Django to be set up.
from django.contrib.auth import authenticate, get_user_model, login  # noqa: E402
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402

lock = threading.Lock()
stats = {"logins": 0, "needless": 0, "items": 0, "sent_away": 0}
good_until = 0.0  # the last session


def sign_in(request):
    global good_until
    if request.method != "POST":
        get_token(request)  # which sets the cookie
        return HttpResponse("user name and password, please")
    user = authenticate(request, username=request.POST.get("username"), password=request.POST.get("password"))
    if user is None:
        return HttpResponse("wrong", status=400)
    login(request, user)
    request.session.set_expiry(lifetime)
    with lock:
        now = time.monotonic()
        stats["logins"] += 1
        stats["needless"] += now < good_until
        good_until = now + lifetime
    return HttpResponse("welcome")


@login_required
def items(request):
    with lock:
        stats["items"] += 1
    return HttpResponse(request.body, content_type="application/octet-stream")


def counted(view):
    def wrapped(request):
        response = view(request)
        with lock:
            stats["sent_away"] += response.status_code == 302
        return response

    return wrapped


def end(request):
    """Ends all sessions, whatever the cookies say."""
    global good_until
    with lock:
        cache.clear()
        good_until = 0.0
    return HttpResponse("ended")


def count(request):
    with lock:
        return JsonResponse(stats)


urlpatterns = [
    path("login/", sign_in),
    path("items/", counted(items)),
    path("end/", end),
    path("stats/", count),
]

call_command("migrate", verbosity=0)
get_user_model().objects.create_user(username, password=password)


class Server(ThreadedWSGIServer):
    request_queue_size = 1024
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


server = Server(("127.0.0.1", port), Handler)
server.set_app(get_wsgi_application())
server.serve_forever()
