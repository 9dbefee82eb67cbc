//! Rules of the key file and of the key variables.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{KeyRing, add_active_key, create_key_file, file};
use crate::tests::{Counting, Scripted, code, rising};
use crate::{OsRandom, Vault};

/// Key 60..7f under id 1; the check word was computed by another implementation.
const LINE_1: &str = "1 YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8= 9a85b68a\n";

fn key_file(content: &[u8]) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keyring");
    fs::write(&path, content).unwrap();
    set_mode(&path, 0o600);
    (directory, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_line_of_a_key_file_has_the_bytes_of_the_format() {
    let (_directory, path) = key_file(LINE_1.as_bytes());

    let ring = KeyRing::read_file(&path).unwrap();

    assert_eq!((ring.ids(), ring.active_id()), (vec![1], 1));
    assert_eq!(ring.active().secret.bytes(), &rising(0x60));
    assert_eq!(super::format::line(ring.active()).unwrap().as_str(), LINE_1);
}

#[test]
fn a_created_file_is_private_and_reads_back() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keyring");

    assert_eq!(create_key_file(&path, &mut OsRandom::new()).unwrap(), 1);

    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(KeyRing::read_file(&path).unwrap().ids(), [1]);
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let (_directory, path) = key_file(b"precious");

    assert_eq!(code(create_key_file(&path, &mut Counting(0))), "E0611");

    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn no_file_is_made_without_randomness_or_in_a_shared_directory() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keyring");

    assert_eq!(code(create_key_file(&path, &mut Scripted(vec![]))), "E0610");
    set_mode(directory.path(), 0o770);
    assert_eq!(code(create_key_file(&path, &mut Counting(0))), "E0601");

    assert!(!path.exists());
}

#[test]
fn a_missing_file_is_a_missing_key() {
    let directory = TempDir::new().unwrap();

    assert_eq!(code(KeyRing::read_file(&directory.path().join("keyring"))), "E0600");
}

#[test]
fn only_the_owner_may_read_the_file() {
    let (_directory, path) = key_file(LINE_1.as_bytes());
    let refused = [0o644, 0o640, 0o604, 0o660, 0o606, 0o700, 0o200, 0o500, 0o4600, 0o1600, 0o601, 0o610];

    for mode in refused {
        set_mode(&path, mode);
        let error = KeyRing::read_file(&path).err().unwrap();
        assert_eq!(error.code, "E0601", "{mode:o}");
        assert!(error.message.contains(&format!("{mode:04o}")) && error.message.contains("0600"), "{}", error.message);
    }
    for mode in [0o400, 0o600] {
        set_mode(&path, mode);
        assert_eq!(code(KeyRing::read_file(&path)), "opened");
    }
}

#[test]
fn the_file_belongs_to_the_user_who_runs_the_program() {
    let (_directory, path) = key_file(LINE_1.as_bytes());
    let owner = fs::metadata(&path).unwrap().uid();

    assert_eq!(file::effective_uid().unwrap(), owner);
    assert_eq!(file::owner_of_new_file().unwrap(), owner);
    assert!(file::read_checked(&path, owner).is_ok());
    assert_eq!(code(file::read_checked(&path, owner + 1)), "E0601");
}

#[test]
fn no_one_else_may_write_to_the_directory() {
    let (directory, path) = key_file(LINE_1.as_bytes());

    for mode in [0o720, 0o702, 0o777, 0o1777] {
        set_mode(directory.path(), mode);
        assert_eq!(code(KeyRing::read_file(&path)), "E0601", "{mode:o}");
    }
    set_mode(directory.path(), 0o755);
    assert_eq!(code(KeyRing::read_file(&path)), "opened");
}

#[test]
fn a_link_or_a_directory_is_not_a_key_file() {
    let (directory, path) = key_file(LINE_1.as_bytes());
    let link = directory.path().join("link");
    let dangling = directory.path().join("dangling");
    symlink(&path, &link).unwrap();
    symlink(directory.path().join("nowhere"), &dangling).unwrap();

    for path in [&link, &dangling, &directory.path().to_path_buf()] {
        assert_eq!(code(KeyRing::read_file(path)), "E0601");
    }
    assert_eq!(code(create_key_file(&dangling, &mut Counting(0))), "E0611");
}

#[test]
fn any_flipped_bit_of_a_line_is_found() {
    for bit in 0..LINE_1.len() * 8 {
        let mut content = LINE_1.as_bytes().to_vec();
        content[bit / 8] ^= 1 << (bit % 8);
        let (_directory, path) = key_file(&content);

        assert_eq!(code(KeyRing::read_file(&path)), "E0602", "bit {bit}");
    }
}

#[test]
fn a_half_written_file_is_found() {
    for length in 0..LINE_1.len() {
        let (_directory, path) = key_file(&LINE_1.as_bytes()[..length]);

        assert_eq!(code(KeyRing::read_file(&path)), "E0602", "{length} bytes");
    }
}

#[test]
fn a_damaged_line_is_named_by_its_number_and_not_shown() {
    let (_directory, path) = key_file(format!("{LINE_1}2 c2VjcmV0 00000000\n").as_bytes());

    let error = KeyRing::read_file(&path).err().unwrap();

    assert_eq!(error.code, "E0602");
    assert!(error.message.contains("line 2") && !error.to_string().contains("c2VjcmV0"), "{error}");
}

#[test]
fn lines_have_one_spelling_and_ids_do_not_repeat() {
    let key = "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8=";
    let contents = [
        format!("{LINE_1}{LINE_1}"),
        format!("{LINE_1}\n"),
        LINE_1.replace('\n', "\r\n"),
        LINE_1.replace('\n', " \n"),
        LINE_1.to_uppercase(),
        format!("01 {key} 9a85b68a\n"),
        format!("+1 {key} 9a85b68a\n"),
        format!("0 {key} 9a85b68a\n"),
        "x".repeat(10_000),
    ];

    for content in contents {
        let (_directory, path) = key_file(content.as_bytes());
        assert_eq!(code(KeyRing::read_file(&path)), "E0602", "{content}");
    }
}

#[test]
fn a_key_put_in_front_becomes_active_and_the_others_stay() {
    let (directory, path) = key_file(LINE_1.as_bytes());

    assert_eq!(add_active_key(&path, &mut Counting(0)).unwrap(), 2);
    assert_eq!(add_active_key(&path, &mut Counting(9)).unwrap(), 3);

    let ring = KeyRing::read_file(&path).unwrap();
    assert_eq!(ring.ids(), [3, 2, 1]);
    assert_eq!(ring.find(1).unwrap().secret.bytes(), &rising(0x60));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_ring_grows_to_its_limit_and_no_further() {
    let (_directory, path) = key_file(LINE_1.as_bytes());
    let random = &mut Counting(0);

    assert!((2..=64).all(|id| add_active_key(&path, random).unwrap() == id));

    assert_eq!(code(add_active_key(&path, random)), "E0609");
    assert_eq!(KeyRing::read_file(&path).unwrap().ids().len(), 64);
}

#[test]
fn the_key_of_another_installation_is_a_wrong_key() {
    let (_directory, path) = key_file(LINE_1.as_bytes());
    let other = TempDir::new().unwrap();
    create_key_file(&other.path().join("keyring"), &mut Counting(0)).unwrap();
    let ring = KeyRing::read_file(&path).unwrap();
    let (_, rows) = Vault::create(&ring, "acme", 0, &mut Counting(0)).unwrap();

    let other_ring = KeyRing::read_file(&other.path().join("keyring")).unwrap();

    assert_eq!(code(Vault::open(&ring, "acme", &rows)), "opened");
    assert_eq!(code(Vault::open(&other_ring, "acme", &rows)), "E0603");
}

#[test]
fn variables_give_keys_in_the_order_asked() {
    let lookup = |name: &str| match name {
        "AFFLUENT_KEK_1" => Some("YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8=\n".to_owned()),
        "AFFLUENT_KEK_2" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        "AFFLUENT_KEK_3" => Some("AAECAwQ=".to_owned()),
        "AFFLUENT_KEK_4" => Some("A".repeat(43) + "="),
        "AFFLUENT_KEK_0" => Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned()),
        _ => None,
    };

    let ring = KeyRing::read_environment(&[2, 1], &lookup).unwrap();

    assert_eq!((ring.ids(), ring.active().secret.bytes()), (vec![2, 1], &rising(0)));
    for (ids, expected) in [(vec![3], "E0602"), (vec![4], "E0602"), (vec![0], "E0602"), (vec![1, 1], "E0602"), (vec![], "E0600")]
    {
        assert_eq!(code(KeyRing::read_environment(&ids, &lookup)), expected, "{ids:?}");
    }
    let error = KeyRing::read_environment(&[1, 8, 9], &lookup).err().unwrap();
    assert!(error.code == "E0600" && error.message.contains("`AFFLUENT_KEK_8`, `AFFLUENT_KEK_9`"), "{error}");
}
