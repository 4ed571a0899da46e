//! Frames from the broker: mending loses no byte, is done once and for all, and leaves nothing that the client's own
//! reader would run out of stack over.

use amq_protocol::frame::parse_frame;
use scanbell::intake::amqp::fuzzing::mend;

pub fn a_frame_stays_a_frame(data: &[u8]) {
    let (cut, stream) = data.split_first().map_or((0, data), |(cut, rest)| (usize::from(*cut), rest));
    let mended = mend(&[stream]);
    assert!(mended.len() <= stream.len(), "{} of {}", mended.len(), stream.len());
    assert_eq!(mend(&[&mended]), mended, "mended twice");
    let (head, tail) = stream.split_at(cut.min(stream.len()));
    assert_eq!(mend(&[head, tail]), mended, "cut at {cut}");
    let mut rest = mended.as_slice();
    while let Ok((left, _)) = parse_frame(rest) {
        rest = left;
    }
}
