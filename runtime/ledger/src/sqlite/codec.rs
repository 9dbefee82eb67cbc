//! How rows of the outbox are laid out in a piece. A piece holds up to a batch of rows in one value, because a row of SQLite
//! per row of the outbox would cost more than all else that an activation does.
//!
//! Layout: version (1 byte), then per row: key 16, payload hash 16, idempotency key 32, version 8, attempts 4, payload
//! length 4, match length 4, payload, match; numbers are big-endian.

use affluent_model::Error;
use affluent_model::batch::RowOperation;
use affluent_model::identity::ProfileId;

use crate::contract::outbox::OutboxRow;
use crate::error::StoreResult;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 16 + 16 + 32 + 8 + 4 + 4 + 4;

/// What a plan compares of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) key: ProfileId,
    pub(super) payload_hash: [u8; 16],
}

/// Lays rows out; their operation is that of the piece.
pub(super) fn encode(rows: &[OutboxRow]) -> StoreResult<Vec<u8>> {
    let payload_bytes: usize = rows.iter().map(|row| row.payload_sealed.len() + row.match_sealed.len()).sum();
    let mut body = Vec::with_capacity(1 + rows.len() * HEAD_BYTES + payload_bytes);
    body.push(VERSION);
    for row in rows {
        body.extend_from_slice(&row.key.0.to_be_bytes());
        body.extend_from_slice(&row.payload_hash);
        body.extend_from_slice(&row.idempotency_key);
        body.extend_from_slice(&row.version.to_be_bytes());
        body.extend_from_slice(&row.attempts.to_be_bytes());
        body.extend_from_slice(&length(&row.payload_sealed)?);
        body.extend_from_slice(&length(&row.match_sealed)?);
        body.extend_from_slice(&row.payload_sealed);
        body.extend_from_slice(&row.match_sealed);
    }
    Ok(body)
}

/// Reads rows back; `None` = the body is not one of ours.
pub(super) fn decode(body: &[u8], operation: RowOperation) -> Option<Vec<OutboxRow>> {
    let mut rows = Vec::new();
    let mut rest = after_version(body)?;
    while !rest.is_empty() {
        rows.push(decode_row(&mut rest, operation)?);
    }
    Some(rows)
}

/// Reads only what a plan compares.
pub(super) fn decode_heads(body: &[u8]) -> Option<Vec<Head>> {
    let mut heads = Vec::new();
    let mut rest = after_version(body)?;
    while !rest.is_empty() {
        let key = ProfileId(u128::from_be_bytes(take(&mut rest)?));
        let payload_hash = take(&mut rest)?;
        let _: [u8; 32 + 8 + 4] = take(&mut rest)?;
        let payload_bytes = take_length(&mut rest)?;
        let match_bytes = take_length(&mut rest)?;
        rest = rest.split_at_checked(payload_bytes.checked_add(match_bytes)?)?.1;
        heads.push(Head { key, payload_hash });
    }
    Some(heads)
}

fn length(bytes: &[u8]) -> StoreResult<[u8; 4]> {
    match u32::try_from(bytes.len()) {
        Ok(length) => Ok(length.to_be_bytes()),
        Err(_) => Err(Error::bug("a record over 4 GiB cannot pass the limits of the engine").into()),
    }
}

fn after_version(body: &[u8]) -> Option<&[u8]> {
    match body.split_first() {
        Some((&VERSION, rest)) => Some(rest),
        _ => None,
    }
}

fn decode_row(rest: &mut &[u8], operation: RowOperation) -> Option<OutboxRow> {
    let key = ProfileId(u128::from_be_bytes(take(rest)?));
    let payload_hash = take(rest)?;
    let idempotency_key = take(rest)?;
    let version = u64::from_be_bytes(take(rest)?);
    let attempts = u32::from_be_bytes(take(rest)?);
    let payload_bytes = take_length(rest)?;
    let match_bytes = take_length(rest)?;
    let (payload, after) = rest.split_at_checked(payload_bytes)?;
    let (match_values, after) = after.split_at_checked(match_bytes)?;
    *rest = after;
    Some(OutboxRow {
        key,
        operation,
        payload_hash,
        idempotency_key,
        payload_sealed: payload.to_vec(),
        match_sealed: match_values.to_vec(),
        version,
        attempts,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(take(rest)?)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_row() -> impl Strategy<Value = OutboxRow> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        (any::<u128>(), any::<[u8; 16]>(), any::<[u8; 32]>(), bytes(), bytes(), any::<(u64, u32)>()).prop_map(
            |(key, payload_hash, idempotency_key, payload_sealed, match_sealed, (version, attempts))| OutboxRow {
                key: ProfileId(key),
                operation: RowOperation::Upsert,
                payload_hash,
                idempotency_key,
                payload_sealed,
                match_sealed,
                version,
                attempts,
            },
        )
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_went_in(rows in proptest::collection::vec(any_row(), 0..8)) {
            let body = encode(&rows).unwrap();

            let heads: Vec<Head> = rows.iter().map(|row| Head { key: row.key, payload_hash: row.payload_hash }).collect();
            prop_assert_eq!(decode_heads(&body).unwrap(), heads);
            prop_assert_eq!(decode(&body, RowOperation::Upsert).unwrap(), rows);
        }

        #[test]
        fn a_body_that_was_cut_is_refused_or_shorter(rows in proptest::collection::vec(any_row(), 1..4), cut in 1usize..200) {
            let body = encode(&rows).unwrap();
            let kept = body.len().saturating_sub(cut);

            let decoded = decode(&body[..kept], RowOperation::Upsert);

            prop_assert!(decoded.is_none_or(|shorter| shorter.len() < rows.len()));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&body, RowOperation::Delete);
            let _ = decode_heads(&body);
        }
    }
}
