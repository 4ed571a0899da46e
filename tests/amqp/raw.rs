//! Publishes by hand what no client would: it writes the frames itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Publishes one message as guest, with these flags and properties, and waits until the broker has it.
pub fn publish(broker: SocketAddr, queue: &str, flags: u16, properties: &[u8], body: &[u8]) {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
    read(&mut stream);
    let login = [long(b""), short(b"PLAIN"), long(b"\0guest\0guest"), short(b"en_US")].concat();
    stream.write_all(&method(0, 10, 11, &login)).unwrap();
    read(&mut stream);
    stream.write_all(&method(0, 10, 31, &[0x07, 0xff, 0, 2, 0, 0, 0, 0])).unwrap();
    stream.write_all(&method(0, 10, 40, &[short(b"/"), short(b""), vec![0]].concat())).unwrap();
    read(&mut stream);
    stream.write_all(&method(1, 20, 10, &short(b""))).unwrap();
    read(&mut stream);
    stream.write_all(&method(1, 60, 40, &[&[0, 0][..], &short(b""), &short(queue.as_bytes()), &[0]].concat())).unwrap();
    let size = u64::try_from(body.len()).unwrap().to_be_bytes();
    let header = [&[0, 60, 0, 0][..], &size, &flags.to_be_bytes(), properties].concat();
    stream.write_all(&frame(2, 1, &header)).unwrap();
    stream.write_all(&frame(3, 1, body)).unwrap();
    // The answer to the close comes after the message was taken.
    stream.write_all(&method(1, 20, 40, &[&[0, 200][..], &short(b""), &[0; 4]].concat())).unwrap();
    assert_eq!(read(&mut stream), [0, 20, 0, 41]);
}

pub fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

pub fn long(content: &[u8]) -> Vec<u8> {
    [&u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn method(channel: u16, class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat())
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &channel.to_be_bytes(), &long(payload), &[0xce]].concat()
}

fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut start = [0; 7];
    stream.read_exact(&mut start).unwrap();
    let size = u32::from_be_bytes(start[3..].try_into().unwrap());
    let mut payload = vec![0; usize::try_from(size).unwrap() + 1];
    stream.read_exact(&mut payload).unwrap();
    payload.pop();
    payload
}
