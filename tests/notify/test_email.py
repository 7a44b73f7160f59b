"""What a mail server gets of alerts."""

import asyncio
import ssl
from email import message_from_bytes, policy

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from notices import LONGEST_SECONDS, NOW, delivery, later, resolved, silent_port

from monitor.notify.email import EmailSink, address
from monitor.notify.notice import NotDelivered
from monitor.settings import EmailSink as Server

AUTHORITY = trustme.CA()


def trusting():
    tls = ssl.create_default_context()
    AUTHORITY.configure_trust(tls)
    return tls


def certified():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(tls)
    return tls


class Post:
    """Keeps mail; answers with codes it is told to answer with."""

    def __init__(self):
        self.mails = []
        self.users = []
        self.refuses = {}
        self.data_answer = "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuses:
            return f"{self.refuses[address]} no"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.data_answer.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            self.mails.append((envelope.mail_from, envelope.rcpt_tos, session.ssl is not None, mail))
        return self.data_answer

    def authenticate(self, server, session, envelope, mechanism, data):
        self.users.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"s3cret", handled=False)


class Office(Controller):
    """`security` as the settings name it."""

    def __init__(self, post, security):
        options = {}
        if security == "starttls":
            options = {"tls_context": certified(), "require_starttls": True, "auth_required": True}
        if security == "tls":
            options = {"auth_require_tls": False}  # it does not know that it is inside TLS already
        super().__init__(
            post,
            hostname="localhost",
            port=0,
            server_hostname="localhost",
            authenticator=post.authenticate,
            ssl_context=certified() if security == "tls" else None,
            ready_timeout=LONGEST_SECONDS,
            **options,
        )

    def _trigger_server(self):
        """It would connect to port 0 to see whether it runs."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def post():
    return Post()


@pytest.fixture
def office(post, request):
    security = getattr(request, "param", "none")
    office = Office(post, security)
    office.start()
    yield office
    office.stop()


def send(office, *deliveries, security="none", sees="bed", addresses=("desk@example.org",), tls=None, **told):
    server = Server(
        email=f"localhost:{office if isinstance(office, int) else office.port}",
        sender="Handoff <monitor@example.org>",
        security=security,
        **told,
    )

    lines = []

    def log(event, **fields):
        lines.append((event, fields))

    async def main():
        sink = EmailSink(
            "post", server, lambda _: sees, lambda: NOW, lambda _: addresses, log, tls=tls or trusting()
        )
        try:
            await sink.send(deliveries)
        finally:
            await sink.close()

    asyncio.run(main())
    return lines


def test_a_mail_has_the_alert_as_text_and_as_a_page(office, post):
    send(office, delivery(), addresses=("desk@example.org", "second@example.org"))
    [(sender, receivers, _, mail)] = post.mails
    assert sender == "monitor@example.org"
    assert receivers == ["desk@example.org", "second@example.org"]
    assert mail["From"] == "Handoff <monitor@example.org>"
    assert mail["To"] == "desk@example.org, second@example.org"
    assert (
        mail["Subject"]
        == "[warning] Emergency department: admitted patient still in the emergency department"
    )
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime == NOW
    text, page = mail.iter_parts()
    assert [text.get_content_type(), page.get_content_type()] == ["text/plain", "text/html"]
    for part in (text, page):
        assert "pseudonym k3j2abcdef" in part.get_content()
        assert "1000091" not in part.get_content()


def test_the_subject_never_names_the_patient_even_for_those_who_may_see_all(office, post):
    send(office, delivery(), sees="full")
    mail = post.mails[0][3]
    assert "1000091" in mail.get_body(("plain",)).get_content()
    assert "1000091" not in mail["Subject"]


def test_several_alerts_go_in_one_mail(office, post):
    send(
        office,
        delivery(),
        delivery(later(alert="b", summary="another")),
        delivery(later(alert="c"), number=3),
    )
    [(_, _, _, mail)] = post.mails
    assert mail["Subject"].startswith("3 alerts: [warning] Emergency department: ")
    assert "another" in mail.get_body(("plain",)).get_content()
    assert "another" in mail.get_body(("html",)).get_content()


def test_a_repeat_has_the_same_message_id_and_a_change_another(office, post):
    for notice in (later(), later(), resolved()):
        send(office, delivery(notice))
    first, again, change = [mail["Message-ID"] for *_, mail in post.mails]
    assert first == again != change
    assert first.endswith("@example.org>")


@pytest.mark.parametrize("office", ["tls", "starttls"], indirect=True)
def test_over_tls_it_signs_in_with_the_password_that_the_file_has(office, post, request, tmp_path):
    security = request.node.callspec.params["office"]
    (tmp_path / "password").write_text("s3cret\n")
    send(office, delivery(), security=security, user="monitor", password_file=str(tmp_path / "password"))
    assert post.users == [("monitor", "s3cret")]
    assert len(post.mails) == 1
    assert security == "tls" or post.mails[0][2]


@pytest.mark.parametrize("office", ["tls", "starttls"], indirect=True)
def test_no_password_goes_to_a_server_that_cannot_prove_who_it_is(office, post, request, tmp_path):
    (tmp_path / "password").write_text("s3cret")
    with pytest.raises(NotDelivered) as error:
        send(
            office,
            delivery(),
            security=request.node.callspec.params["office"],
            user="monitor",
            password_file=str(tmp_path / "password"),
            tls=ssl.create_default_context(),
        )
    assert error.value.retry
    assert (post.users, post.mails) == ([], [])


def test_a_server_without_starttls_gets_nothing(office, post):
    with pytest.raises(NotDelivered) as error:
        send(office, delivery(), security="starttls")
    assert error.value.retry
    assert post.mails == []


@pytest.mark.parametrize("office", ["tls"], indirect=True)
def test_a_wrong_password_can_be_mended_so_it_is_tried_again(office, post, tmp_path):
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(NotDelivered, match="535") as error:
        send(office, delivery(), security="tls", user="monitor", password_file=str(tmp_path / "password"))
    assert error.value.retry


@pytest.mark.parametrize(("code", "retry"), [(550, False), (451, True)])
def test_refused_addresses_are_final_when_the_server_says_so(office, post, code, retry):
    post.refuses = {"desk@example.org": code}
    with pytest.raises(NotDelivered) as error:
        send(office, delivery())
    assert error.value.retry is retry


def test_one_address_of_several_that_is_no_more_does_not_repeat_the_mail_to_the_others(office, post):
    post.refuses = {"gone@example.org": 550}
    lines = send(office, delivery(), addresses=("desk@example.org", "gone@example.org"))
    assert lines == [("addresses_refused", {"sink": "post", "receiver": "default", "codes": [550]})]
    assert post.mails[0][1] == ["desk@example.org"]


def test_one_address_of_several_that_is_put_off_is_tried_again(office, post):
    post.refuses = {"full@example.org": 452}
    with pytest.raises(NotDelivered) as error:
        send(office, delivery(), addresses=("desk@example.org", "full@example.org"))
    assert error.value.retry


@pytest.mark.parametrize(("answer", "retry"), [("554 no", False), ("451 later", True)])
def test_a_refused_message_is_final_when_the_server_says_so(office, post, answer, retry):
    post.data_answer = answer
    with pytest.raises(NotDelivered) as error:
        send(office, delivery())
    assert error.value.retry is retry


def test_no_server_is_tried_again():
    with silent_port() as port, pytest.raises(NotDelivered, match="no connection") as error:
        send(port, delivery())
    assert error.value.retry


def test_a_receiver_without_addresses_never_gets_any(office):
    with pytest.raises(NotDelivered) as error:
        send(office, delivery(), addresses=())
    assert not error.value.retry


def test_the_server_is_a_host_with_or_without_a_port():
    assert address("mail.example", 587) == ("mail.example", 587)
    assert address("mail.example:2525", 587) == ("mail.example", 2525)
    assert address("[::1]:25", 587) == ("::1", 25)
    assert address("::1", 587) == ("::1", 587)
