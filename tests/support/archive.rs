//! A tar.gz of files, as services give results of jobs.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The files in their order, each under the name of its number.
pub(crate) fn tar_gz(files: &[String]) -> std::io::Result<Vec<u8>> {
    let mut archive = GzEncoder::new(Vec::new(), Compression::default());
    for (number, file) in files.iter().enumerate() {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &format!("{number}.json"));
        put(124, &format!("{:011o}", file.len()));
        put(148, "        ");
        put(156, "0");
        put(257, "ustar");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.write_all(&header)?;
        archive.write_all(file.as_bytes())?;
        archive.write_all(&vec![0; (512 - file.len() % 512) % 512])?;
    }
    archive.write_all(&[0; 1024])?;
    archive.finish()
}
