//! Messages between the program and a worker: four bytes of length, a tag, and a body in postcard. Nothing is read that is
//! longer than a guest could have reason to send.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A message: what a call may lift out of a guest, with room for names and numbers.
const FRAME_BYTES_MAX: usize = crate::limits::LIFT_BYTES_MAX + (16 << 20);
const LENGTH_BYTES: usize = 4;

/// A message that is not of the protocol.
#[derive(Debug, thiserror::Error)]
#[error("a message between the program and a plugin's worker {0}")]
pub(crate) struct Garbled(pub(crate) &'static str);

/// A message that was read.
pub(crate) struct Frame {
    pub(crate) tag: u8,
    body: Vec<u8>,
}

impl Frame {
    /// # Errors
    /// When the body is of another form.
    pub(crate) fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Garbled> {
        postcard::from_bytes(&self.body).map_err(|_| Garbled("is not of its form"))
    }

    fn of(mut body: Vec<u8>) -> io::Result<Self> {
        let tag = body.pop().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(Self { tag, body })
    }
}

/// A message ready to be written; its tag comes last, so that the body need not be moved when it is read.
///
/// # Errors
/// When it is longer than messages may be.
pub(crate) fn encode(tag: u8, body: &impl Serialize) -> Result<Vec<u8>, Garbled> {
    let mut frame = postcard::to_extend(body, vec![0u8; LENGTH_BYTES]).map_err(|_| Garbled("cannot be written"))?;
    frame.push(tag);
    let length = frame.len() - LENGTH_BYTES;
    let length = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX).ok_or(Garbled("is too long"))?;
    frame.iter_mut().zip(length.to_le_bytes()).for_each(|(slot, byte)| *slot = byte);
    Ok(frame)
}

fn length_of(header: [u8; LENGTH_BYTES]) -> io::Result<u64> {
    let length = u32::from_le_bytes(header);
    if usize::try_from(length).is_ok_and(|length| length <= FRAME_BYTES_MAX) {
        return Ok(u64::from(length));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, Garbled("is too long")))
}

fn whole(body: Vec<u8>, length: u64) -> io::Result<Frame> {
    if u64::try_from(body.len()) == Ok(length) { Frame::of(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads one message; memory grows with what comes, not with what is announced.
///
/// # Errors
/// When the other side is gone, or announces more than messages may have.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut header = [0u8; LENGTH_BYTES];
    stream.read_exact(&mut header).await?;
    let length = length_of(header)?;
    let mut body = Vec::new();
    stream.take(length).read_to_end(&mut body).await?;
    whole(body, length)
}

/// As [`read`], waiting in place.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_waiting(stream: &mut impl Read) -> io::Result<Frame> {
    let mut header = [0u8; LENGTH_BYTES];
    stream.read_exact(&mut header)?;
    let length = length_of(header)?;
    let mut body = Vec::new();
    stream.take(length).read_to_end(&mut body)?;
    whole(body, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let frame = encode(7, &("a", 5u32)).unwrap();

        let read = read_waiting(&mut frame.as_slice()).unwrap();

        assert_eq!((read.tag, read.decode::<(&str, u32)>().unwrap()), (7, ("a", 5)));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&[][..], &[1, 0], &[0, 0, 0, 0], &[5, 0, 0, 0, 1], &[0xff, 0xff, 0xff, 0xff, 0]] {
            assert!(read_waiting(&mut &*bytes).is_err(), "{bytes:?}");
        }
        let frame = read_waiting(&mut encode(0, &1u8).unwrap().as_slice()).unwrap();
        assert!(frame.decode::<(u64, String)>().is_err());
    }
}
