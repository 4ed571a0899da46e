//! Real sockets: a server that says exactly what a test tells it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

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
    let mut pem = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut pem, self_signed().as_bytes()).unwrap();
    let options = ClientOptions {
        connect_timeout: Duration::from_millis(500),
        total_timeout: Duration::from_secs(1),
        guard: None,
        tls: TlsFiles { ca_file: Some(pem.path().to_owned()), ..TlsFiles::default() },
    };
    let (plain, _tasks) = server(vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], Duration::ZERO).await;
    let client = Client::build("test", &options).unwrap();
    let error = client.send(get(&format!("https://{plain}/hunter2"))).await.unwrap_err();
    assert_eq!(error.failure, Failure::Tls, "{error}");
    assert!(!error.detail.contains("hunter2"));
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
fn special_addresses_are_refused_unless_everything_is_allowed(#[case] address: IpAddr) {
    assert!(!Guard::default().allows(address));
    assert!(Guard { allow_private: true, ..Guard::default() }.allows(address));
}

#[rstest]
#[case("1.1.1.1")]
#[case("172.32.0.1")]
#[case("100.128.0.1")]
#[case("192.0.1.1")]
#[case("2606:4700:4700::1111")]
#[case("64:ff9b::1.1.1.1")]
#[case("::ffff:8.8.8.8")]
fn public_addresses_are_called(#[case] address: IpAddr) {
    assert!(Guard::default().allows(address));
}

#[test]
fn what_is_listed_is_allowed_and_nothing_beside_it() {
    let listed = Guard { allow_cidrs: vec!["10.2.0.0/16".parse().unwrap()], ..Guard::default() };
    assert!(listed.allows("10.2.3.4".parse().unwrap()));
    assert!(listed.allows("::ffff:10.2.3.4".parse().unwrap()));
    assert!(!listed.allows("10.3.0.1".parse().unwrap()));
    let loopback = Guard { allow_loopback: true, ..Guard::default() };
    assert!(loopback.allows("127.0.0.1".parse().unwrap()) && loopback.allows("::1".parse().unwrap()));
    assert!(!loopback.allows("10.0.0.1".parse().unwrap()) && !loopback.allows("169.254.169.254".parse().unwrap()));
}
