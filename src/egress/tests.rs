//! Real sockets: a server that says exactly what a test tells it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::guard::Names;
use super::*;

/// Answers each connection with one piece after the other, `pause` between them, then closes.
async fn server(pieces: Vec<Vec<u8>>, pause: Duration) -> (SocketAddr, JoinSet<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut requests = 0;
        while let Ok((mut socket, _)) = listener.accept().await {
            requests += 1;
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            for piece in &pieces {
                if socket.write_all(piece).await.is_err() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        }
        requests
    });
    (address, tasks)
}

fn client(guard: Option<Guard>) -> Client {
    Client::build(
        "test",
        &ClientOptions {
            connect_timeout: Duration::from_millis(500),
            total_timeout: Duration::from_millis(1500),
            guard,
            tls: TlsFiles::default(),
        },
    )
    .unwrap()
}

fn get(url: &str) -> Request {
    Request {
        method: reqwest::Method::GET,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        max_body: 1000,
    }
}

async fn answer_to(answer: &[u8]) -> Result<Answer, SendError> {
    let (address, _tasks) = server(vec![answer.to_vec()], Duration::ZERO).await;
    client(None).send(get(&format!("http://{address}/secret-path?token=hunter2"))).await
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_and_not_further() {
    let mut long = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n".to_vec();
    long.resize(5_000_000, b'x');
    let answer = answer_to(&long).await.unwrap();
    assert_eq!((answer.status, answer.body.len(), answer.cut), (200, 1000, true));
    let exact = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000));
    let answer = answer_to(exact.as_bytes()).await.unwrap();
    assert_eq!((answer.body.len(), answer.cut), (1000, false));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (elsewhere, mut tasks) = server(vec![], Duration::ZERO).await;
    let moved = format!("HTTP/1.1 307 Moved\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answer_to(moved.as_bytes()).await.unwrap().status, 307);
    assert!(tasks.try_join_next().is_none());
    tasks.abort_all();
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_total_timeout_and_says_which_status_had_come() {
    let mut pieces = vec![b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".to_vec()];
    pieces.resize(500, b"x".to_vec());
    let (address, _tasks) = server(pieces, Duration::from_millis(100)).await;
    let began = Instant::now();
    let error = client(None).send(get(&format!("http://{address}/"))).await.unwrap_err();
    assert_eq!((error.failure, error.head.map(|head| head.status)), (Failure::Timeout, Some(200)));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[rstest]
#[case::of_the_url(None, "Basic YW5uYTpwQHNz")]
#[case::of_the_configuration(Some("Bearer own"), "Bearer own")]
#[tokio::test]
async fn user_and_password_of_a_url_go_into_authorization_and_nowhere_else(
    #[case] own: Option<&'static str>,
    #[case] expected: &str,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut request = get(&format!("http://anna:p%40ss@{address}/hook"));
    request.headers.extend(own.map(|own| (reqwest::header::AUTHORIZATION, own.parse().unwrap())));
    let client = client(None);
    let mut sending = JoinSet::from_iter([async move { client.send(request).await }]);
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 4096];
    let length = socket.read(&mut buffer).await.unwrap();
    let said = String::from_utf8_lossy(&buffer[..length]);
    let authorization: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("authorization: ")).collect();
    assert_eq!(authorization, [expected], "{said}");
    assert!(said.starts_with("GET /hook HTTP/1.1\r\n") && !said.contains("anna"), "{said}");
    sending.abort_all();
}

#[rstest]
#[case::closed_at_once(b"", Failure::Interrupted)]
#[case::closed_in_the_body(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Failure::Interrupted)]
#[case::not_http(b"220 mail.example.com ESMTP\r\n", Failure::BadAnswer)]
#[case::not_gzip(
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\nnot gzip at all, not gzip at all, not gz",
    Failure::BadAnswer
)]
#[tokio::test]
async fn a_broken_answer_has_its_reason_and_shows_no_url(#[case] answer: &[u8], #[case] expected: Failure) {
    let error = answer_to(answer).await.unwrap_err();
    assert_eq!(error.failure, expected, "{error}");
    assert!(!error.detail.contains("hunter2") && !error.detail.contains("secret-path"), "{error}");
}

#[tokio::test]
async fn nothing_listening_no_such_name_and_no_tls_there_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = client(None).send(get(&format!("http://{closed}/hunter2"))).await.unwrap_err();
    assert_eq!(refused.failure, Failure::Connect);
    let unknown = client(None).send(get("http://no-such-name.invalid/hunter2")).await.unwrap_err();
    assert_eq!(unknown.failure, Failure::Connect);
    let (plain, _tasks) = server(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], Duration::ZERO).await;
    let error = trusting_somebody().send(get(&format!("https://{plain}/hunter2"))).await.unwrap_err();
    assert_eq!(error.failure, Failure::Tls, "{error}");
    assert!(!error.detail.contains("hunter2") && error.detail.contains("scheme of the URL"), "{error}");
}

fn self_signed() -> String {
    rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem()
}

#[test]
fn every_pem_file_that_cannot_be_used_is_a_problem() {
    let files = TlsFiles {
        ca_file: Some("/nonexistent/ca.pem".into()),
        cert_file: Some("/nonexistent/cert.pem".into()),
        key_file: Some("/nonexistent/key.pem".into()),
    };
    let problems = tls_config("[destinations.siem]", &files).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems}");
    let lonely = TlsFiles { cert_file: Some("/nonexistent/cert.pem".into()), ..TlsFiles::default() };
    assert!(tls_config("x", &lonely).unwrap_err().to_string().contains("`key_file` is not"));
}

#[rstest]
#[case("http://127.0.0.1:1/")]
#[case("http://0x7f000001:1/")]
#[case("http://2130706433:1/")]
#[case("http://127.1:1/")]
#[case("http://0177.0.0.1:1/")]
#[case("http://017700000001:1/")]
#[case("http://0x7f.0x0.0x0.0x1:1/")]
#[case("http://１２７。0.0.1:1/")]
#[case("http://167772161:1/")]
#[case("http://0xA9.254.0251.0xfe:1/")]
#[case("http://2852039166:1/")]
#[case("http://0:1/")]
#[case("http://0.0.0.0:1/")]
#[case("http://[::]:1/")]
#[case("http://LOCALHOST:1/")]
#[case("http://[64:ff9b:1::10.0.0.1]:1/")]
#[case("http://[2001:0:0:0:0:0:f5ff:fffe]:1/")]
#[case("http://[fe80::1]:1/")]
#[case("http://[fd00:ec2::254]:1/")]
#[case("http://user:hunter2@10.0.0.1:1/")]
#[case("http://[::1]:1/")]
#[case("http://[::ffff:127.0.0.1]:1/")]
#[case("http://[::ffff:a9fe:a9fe]:1/")]
#[case("http://[64:ff9b::10.0.0.1]:1/")]
#[case("http://[2002:a00:1::]:1/")]
#[case("http://localhost:1/")]
#[tokio::test]
async fn the_guard_refuses_an_address_however_it_is_written(#[case] url: &str) {
    let error = client(Some(Guard::default())).send(get(url)).await.unwrap_err();
    assert_eq!(error.failure, Failure::BlockedAddress, "{error}");
    assert!(!error.detail.contains("hunter2"), "{error}");
    let probed = client(Some(Guard::default())).probe(&url.parse().unwrap()).await.unwrap_err();
    assert_eq!(probed.failure, Failure::BlockedAddress, "{probed}");
}

#[rstest]
#[case("127.0.0.1")]
#[case("127.255.255.254")]
#[case("10.1.2.3")]
#[case("172.16.0.1")]
#[case("172.31.255.255")]
#[case("192.168.1.1")]
#[case("169.254.1.1")]
#[case("169.254.169.254")]
#[case("100.64.0.1")]
#[case("100.100.100.200")]
#[case("0.0.0.0")]
#[case("224.0.0.1")]
#[case("255.255.255.255")]
#[case("240.0.0.1")]
#[case("192.0.2.1")]
#[case("198.51.100.1")]
#[case("203.0.113.9")]
#[case("198.18.0.1")]
#[case("::")]
#[case("::1")]
#[case("fd00:ec2::254")]
#[case("fc00::1")]
#[case("fe80::1")]
#[case("ff02::1")]
#[case("2001:db8::1")]
#[case("::ffff:10.0.0.1")]
#[case("::10.0.0.1")]
#[case("64:ff9b::a9fe:a9fe")]
#[case("2002:7f00:1::1")]
#[case("2001::1")]
#[case("0.255.255.255")]
#[case("100.127.255.255")]
#[case("168.63.129.16")]
#[case("169.254.170.2")]
#[case("192.0.0.192")]
#[case("192.88.99.1")]
#[case("239.255.255.255")]
#[case("255.0.0.1")]
#[case("::ffff:169.254.169.254")]
#[case("::ffff:0:10.0.0.1")]
#[case("::ffff:0.0.0.0")]
#[case("64:ff9b::10.0.0.1")]
#[case("64:ff9b::100.64.0.1")]
#[case("64:ff9b:1::1.1.1.1")]
#[case("64:ff9b:1:ffff::1.1.1.1")]
#[case("2002:a9fe:a9fe::1")]
#[case("2002:c0a8:1::1")]
#[case("2001:0:4136:e378:8000:63bf:3fff:fdd2")]
#[case("2001:20::1")]
#[case("3fff::1")]
#[case("5f00::1")]
#[case("100::1")]
#[case("100:0:0:1::1")]
#[case("febf::1")]
#[case("fec0::1")]
#[case("fdff::1")]
#[case("ff0e::1")]
#[case("4000::1")]
#[case("1::1")]
fn special_addresses_are_refused_unless_everything_is_allowed(#[case] address: IpAddr) {
    assert!(!Guard::default().allows(address));
    assert!(Guard { allow_private: true, ..Guard::default() }.allows(address));
}

#[rstest]
#[case("1.1.1.1")]
#[case("172.32.0.1")]
#[case("100.128.0.1")]
#[case("192.0.1.1")]
#[case("9.255.255.255")]
#[case("11.0.0.0")]
#[case("100.63.255.255")]
#[case("126.255.255.255")]
#[case("128.0.0.1")]
#[case("169.253.255.255")]
#[case("172.15.255.255")]
#[case("192.167.255.255")]
#[case("223.255.255.255")]
#[case("2606:4700:4700::1111")]
#[case("2001:4860:4860::8888")]
#[case("2002:808:808::1")]
#[case("64:ff9b::1.1.1.1")]
#[case("::ffff:8.8.8.8")]
fn public_addresses_are_called(#[case] address: IpAddr) {
    assert!(Guard::default().allows(address));
}

#[rstest]
#[case("10.2.0.0/16", &["10.2.0.0", "10.2.255.255", "::ffff:10.2.3.4", "64:ff9b::10.2.3.4"], &["10.1.255.255", "10.3.0.0"])]
#[case("169.254.10.0/24", &["169.254.10.9"], &["169.254.169.254", "169.254.11.0", "127.0.0.1"])]
#[case("100.64.0.0/10", &["100.64.0.1", "100.127.255.255"], &["10.0.0.1", "192.168.0.1"])]
#[case("127.0.0.0/8", &["127.0.0.1", "127.9.9.9"], &["::1", "0.0.0.0"])]
#[case("fd12:3456::/32", &["fd12:3456::1"], &["fd12:3457::1", "fe80::1", "::1", "10.0.0.1"])]
#[case("64:ff9b:1::/48", &["64:ff9b:1::10.0.0.1"], &["10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:2::1"])]
#[case("10.2.3.4/32", &["10.2.3.4"], &["10.2.3.3", "10.2.3.5"])]
fn a_listed_range_is_opened_and_nothing_beside_it(#[case] range: &str, #[case] open: &[&str], #[case] shut: &[&str]) {
    let listed = Guard { allow_cidrs: vec![range.parse().unwrap()], ..Guard::default() };
    for address in open {
        assert!(listed.allows(address.parse().unwrap()), "{address} is in {range}");
    }
    for address in shut {
        assert!(!listed.allows(address.parse().unwrap()), "{address} is not in {range}");
    }
}

#[test]
fn loopback_that_the_configuration_names_opens_nothing_else() {
    let loopback = Guard { allow_loopback: true, ..Guard::default() };
    assert!(loopback.allows("127.0.0.1".parse().unwrap()) && loopback.allows("::1".parse().unwrap()));
    assert!(!loopback.allows("10.0.0.1".parse().unwrap()) && !loopback.allows("169.254.169.254".parse().unwrap()));
}

/// A client for which 127.0.0.2 stands for the internet, and every name has these addresses, asked once after the
/// other.
fn told(answers: &[&[&str]]) -> Client {
    let answers = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
    let guard = Guard { allow_cidrs: vec!["127.0.0.2/32".parse().unwrap()], ..Guard::default() };
    let options = ClientOptions {
        connect_timeout: Duration::from_secs(5),
        total_timeout: Duration::from_secs(5),
        guard: Some(guard),
        tls: TlsFiles::default(),
    };
    Client::with_names("test", &options, Names::Told(std::sync::Arc::new(std::sync::Mutex::new(answers)))).unwrap()
}

/// Servers on the same port of the two addresses; the second must never be called.
async fn public_and_private() -> (u16, TcpListener, JoinSet<()>) {
    let private = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let port = private.local_addr().unwrap().port();
    let public = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut socket, _)) = public.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    });
    (port, private, tasks)
}

async fn nobody_called(private: TcpListener) {
    let called = tokio::time::timeout(Duration::from_millis(50), private.accept()).await;
    assert!(called.is_err(), "the private address was called");
}

#[tokio::test]
async fn a_name_that_answers_public_first_and_private_then_is_refused_when_it_does() {
    let (port, private, _tasks) = public_and_private().await;
    let client = told(&[&["127.0.0.2"], &["127.0.0.3"]]);
    let url = format!("http://rebinding.example:{port}/");
    assert_eq!(client.send(get(&url)).await.unwrap().status, 200);
    for _ in 0..2 {
        let refused = client.send(get(&url)).await.unwrap_err();
        assert_eq!(refused.failure, Failure::BlockedAddress, "{refused}");
        assert!(refused.detail.contains("127.0.0.3") && refused.detail.contains("allow_cidrs"), "{refused}");
    }
    assert_eq!(client.probe(&url.parse().unwrap()).await.unwrap_err().failure, Failure::BlockedAddress);
    nobody_called(private).await;
}

#[tokio::test]
async fn of_a_name_with_public_and_private_addresses_only_the_public_ones_are_called() {
    let (port, private, _tasks) = public_and_private().await;
    let client = told(&[&["127.0.0.3", "127.0.0.2", "::ffff:10.0.0.1"]]);
    let url = format!("http://both.example:{port}/");
    assert_eq!(client.send(get(&url)).await.unwrap().status, 200);
    client.probe(&url.parse().unwrap()).await.unwrap();
    nobody_called(private).await;
}

/// What is said of a server that holds this certificate, called by `host`.
async fn said_of(host: &str, ca: &str, certificate: rcgen::CertifiedKey<rcgen::KeyPair>) -> SendError {
    install_tls();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = acceptor.accept(socket).await;
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca).unwrap();
    let tls = TlsFiles { ca_file: Some(file.path().to_owned()), ..TlsFiles::default() };
    let (connect_timeout, total_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
    let options = ClientOptions { connect_timeout, total_timeout, guard: None, tls };
    let client = Client::build("test", &options).unwrap();
    let url = format!("https://{host}:{port}/hunter2");
    let (sent, probed) = (client.send(get(&url)).await.unwrap_err(), client.probe(&url.parse().unwrap()).await);
    assert_eq!(sent.detail, probed.unwrap_err().detail, "a probe says the same");
    assert_eq!(sent.failure, Failure::Tls, "{sent}");
    assert!(!sent.detail.contains("hunter2"), "{sent}");
    sent
}

fn made(change: impl FnOnce(&mut rcgen::CertificateParams)) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    change(&mut params);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    rcgen::CertifiedKey { cert, signing_key }
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_says_why_and_what_to_do() {
    let stranger = said_of(
        "localhost",
        &self_signed(),
        made(|params| params.distinguished_name.push(rcgen::DnType::OrganizationName, "x")),
    )
    .await;
    assert!(stranger.detail.contains("UnknownIssuer") && stranger.detail.contains("`ca_file`"), "{stranger}");
    let namesake = said_of("localhost", &self_signed(), made(|_| {})).await;
    assert!(namesake.detail.contains("BadSignature") && namesake.detail.contains("`ca_file`"), "{namesake}");
    let other = made(|_| {});
    let wrong_name = said_of("127.0.0.1", &other.cert.pem(), other).await;
    assert!(wrong_name.detail.contains("localhost") && wrong_name.detail.contains("name in the URL"), "{wrong_name}");
    let old = made(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let expired = said_of("localhost", &old.cert.pem(), old).await;
    assert!(expired.detail.contains("expired") && expired.detail.contains("renew"), "{expired}");
    let authority = made(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let is_ca = said_of("localhost", &authority.cert.pem(), authority).await;
    assert!(is_ca.detail.contains("certificate of its own"), "{is_ca}");
}

#[tokio::test]
async fn a_server_that_never_finishes_the_handshake_is_left_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = silent.accept().await {
            held.push(socket);
        }
    });
    let began = Instant::now();
    let client = trusting_somebody();
    assert_eq!(client.send(get(&url)).await.unwrap_err().failure, Failure::Connect);
    assert_eq!(client.probe(&url.parse().unwrap()).await.unwrap_err().failure, Failure::Connect);
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// A client with at least one CA, also on a machine that has none.
fn trusting_somebody() -> Client {
    let mut pem = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut pem, self_signed().as_bytes()).unwrap();
    let options = ClientOptions {
        connect_timeout: Duration::from_millis(500),
        total_timeout: Duration::from_secs(1),
        guard: None,
        tls: TlsFiles { ca_file: Some(pem.path().to_owned()), ..TlsFiles::default() },
    };
    Client::build("test", &options).unwrap()
}
