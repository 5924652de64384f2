from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path

from . import views

urlpatterns = [
    path("", views.front, name="front"),
    path("colour/", views.choose_colour, name="colour"),
    path("counter/", views.counter, name="counter"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", views.Logout.as_view(), name="logout"),
    path("dashboard/", views.dashboard, name="dashboard"),
    path("dashboard/end-others/", views.end_others, name="end-others"),
    path("admin/", admin.site.urls),
    *staticfiles_urlpatterns(),  # with DEBUG, under gunicorn and uvicorn too
]
