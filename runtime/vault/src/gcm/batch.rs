//! AES-256-GCM over several messages under one key at once (NIST SP 800-38D §7.1). A sealed value is a few blocks long, so
//! most of a call into `aes-gcm` is not the cipher; here one run of AES makes the hash key, the masks and the keystreams of
//! all messages, and GHASH takes each message in one piece. What is sealed here is opened by `aes-gcm`.

use aes_gcm::KeyInit;
use aes_gcm::aes::Aes256Enc;
use aes_gcm::aes::cipher::{Block, BlockCipherEncrypt};
use affluent_model::{Error, Result};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::{Zeroize, Zeroizing};

use super::{NONCE_BYTES, TAG_BYTES};

const BLOCK_BYTES: usize = 16;
/// Blocks that GHASH takes at a time.
const HASHED_TOGETHER: usize = 4;

/// Messages to be sealed under one key: [`Self::add`] each, [`Self::run`], then [`Running::seal`] each in the same order. Kept
/// from batch to batch for its memory, which is wiped after each; [`Self::clear`] begins the next.
#[derive(Default)]
pub(crate) struct Batch {
    /// A block of zeroes, which becomes the hash key; then the counters of each message, which become its mask and keystream.
    blocks: Zeroizing<Vec<[u8; BLOCK_BYTES]>>,
    /// Bytes of the text of each message.
    lengths: Vec<usize>,
    /// What GHASH takes of one message.
    hashed: Vec<[u8; BLOCK_BYTES]>,
}

/// A batch of which the keystreams are made; wiped on drop.
pub(crate) struct Running<'a> {
    batch: &'a mut Batch,
    ghash: GHash,
    /// Messages that are sealed.
    sealed: usize,
    /// Blocks that were used.
    used: usize,
}

impl Batch {
    /// Starts again without a message.
    pub(crate) fn clear(&mut self) {
        self.lengths.clear();
        self.blocks.clear();
    }

    /// One more message. No two messages under one key may have the same nonce.
    ///
    /// # Errors
    /// A bug when the text is longer than 32-bit counters last.
    pub(crate) fn add(&mut self, nonce: &[u8; NONCE_BYTES], text_bytes: usize) -> Result<()> {
        let Ok(last) = u32::try_from(text_bytes.div_ceil(BLOCK_BYTES) + 1) else {
            return Err(Error::bug("a value of 64 GiB reached the cipher, records are limited to far less"));
        };
        let mut start = [0; BLOCK_BYTES];
        for (to, from) in start.iter_mut().zip(nonce) {
            *to = *from;
        }
        let start = u128::from_be_bytes(start);
        if self.blocks.is_empty() {
            self.blocks.push([0; BLOCK_BYTES]);
        }
        self.blocks.extend((1..=last).map(|counter| (start | u128::from(counter)).to_be_bytes()));
        self.lengths.push(text_bytes);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Makes the keystreams of all messages.
    pub(crate) fn run(&mut self, key: &[u8; 32]) -> Running<'_> {
        Aes256Enc::new(key.into()).encrypt_blocks(Block::<Aes256Enc>::cast_slice_from_core_mut(&mut self.blocks));
        let hash_key = Zeroizing::new(self.blocks.first().copied().unwrap_or_default());
        Running { batch: self, ghash: GHash::new(Block::<Aes256Enc>::cast_from_core(&hash_key)), sealed: 0, used: 1 }
    }
}

impl Running<'_> {
    /// Encrypts the text of the next message in place and gives its tag.
    ///
    /// # Errors
    /// A bug when the text is not as long as it was to be.
    pub(crate) fn seal(&mut self, associated_data: &[u8], text: &mut [u8]) -> Result<[u8; TAG_BYTES]> {
        let Batch { blocks, lengths, hashed } = &mut *self.batch;
        let stream =
            blocks.get(self.used..).and_then(<[_]>::split_first).filter(|_| lengths.get(self.sealed) == Some(&text.len()));
        let Some((mask, stream)) = stream else {
            return Err(Error::bug("a message is not as long as its keystream"));
        };
        self.sealed += 1;
        self.used += 1 + text.len().div_ceil(BLOCK_BYTES);
        encrypt(text, stream);
        hashed.clear();
        let blocks = associated_data.len().div_ceil(BLOCK_BYTES) + text.len().div_ceil(BLOCK_BYTES) + 1;
        // Zeroes in front do not change a hash that starts with zero.
        hashed.resize(blocks.next_multiple_of(HASHED_TOGETHER) - blocks, [0; BLOCK_BYTES]);
        push_padded(hashed, associated_data);
        push_padded(hashed, text);
        hashed.push(lengths_block(associated_data.len(), text.len()));
        let mut ghash = self.ghash.clone();
        ghash.update(Block::<Aes256Enc>::cast_slice_from_core(hashed));
        let hash: [u8; TAG_BYTES] = ghash.finalize().into();
        Ok(xor(hash, *mask))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.batch.blocks.as_flattened_mut().zeroize();
    }
}

fn encrypt(text: &mut [u8], stream: &[[u8; BLOCK_BYTES]]) {
    let (whole, rest) = text.as_chunks_mut();
    let mut stream = stream.iter();
    for (block, key) in whole.iter_mut().zip(&mut stream) {
        *block = xor(*block, *key);
    }
    for (byte, key) in rest.iter_mut().zip(stream.next().into_iter().flatten()) {
        *byte ^= key;
    }
}

fn xor(left: [u8; BLOCK_BYTES], right: [u8; BLOCK_BYTES]) -> [u8; BLOCK_BYTES] {
    (u128::from_ne_bytes(left) ^ u128::from_ne_bytes(right)).to_ne_bytes()
}

/// Appends bytes as blocks, the last filled up with zeroes.
fn push_padded(blocks: &mut Vec<[u8; BLOCK_BYTES]>, bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks();
    blocks.extend_from_slice(whole);
    if !rest.is_empty() {
        let mut last = [0; BLOCK_BYTES];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        blocks.push(last);
    }
}

/// Both lengths in bits, 64 bits each.
fn lengths_block(associated_data_bytes: usize, text_bytes: usize) -> [u8; BLOCK_BYTES] {
    ((associated_data_bytes as u128 * 8) << 64 | text_bytes as u128 * 8).to_be_bytes()
}
