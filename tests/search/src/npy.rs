//! Matrices in NumPy's .npy format, version 1, so that Python and we read the same files.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kithdb_vector::distance::half;

/// Numbers in rows.
pub struct Matrix<T> {
    /// Numbers of a row.
    pub width: usize,
    /// All rows one after another.
    pub numbers: Vec<T>,
}

impl<T> Matrix<T> {
    /// Returns the rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        self.numbers.chunks_exact(self.width)
    }

    /// Returns one row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.numbers[row * self.width..][..self.width]
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.numbers.len() / self.width
    }
}

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// Reads floats of 16 or 32 bits.
pub fn read_floats(file: &Path) -> Result<Matrix<f32>> {
    let (kind, width, data) = read(file)?;
    let numbers = match kind.as_str() {
        "<f4" => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        "<f2" => data.as_chunks().0.iter().map(|&bytes| half::to_f32(u16::from_le_bytes(bytes))).collect(),
        _ => bail!("{} holds {kind}, not floats of 16 or 32 bits", file.display()),
    };
    Ok(Matrix { width, numbers })
}

/// Reads integers of 32 bits.
pub fn read_integers(file: &Path) -> Result<Matrix<i32>> {
    let (kind, width, data) = read(file)?;
    ensure!(kind == "<i4", "{} holds {kind}, not integers of 32 bits", file.display());
    Ok(Matrix { width, numbers: data.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect() })
}

/// Writes floats.
pub fn write_floats(file: &Path, matrix: &Matrix<f32>) -> Result<()> {
    write(file, "<f4", matrix.width, matrix.numbers.iter().map(|number| number.to_le_bytes()), matrix.numbers.len())
}

/// Writes integers.
pub fn write_integers(file: &Path, matrix: &Matrix<i32>) -> Result<()> {
    write(file, "<i4", matrix.width, matrix.numbers.iter().map(|number| number.to_le_bytes()), matrix.numbers.len())
}

/// Returns the name of the numbers' type, the width of the rows and the bytes.
fn read(file: &Path) -> Result<(String, usize, Vec<u8>)> {
    let mut bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let broken = || format!("{} is not a matrix in format 1 of NumPy", file.display());
    ensure!(bytes.starts_with(MAGIC) && bytes.len() > 10, broken());
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(bytes.get(10..header_end).with_context(broken)?).into_owned();
    ensure!(header.contains("'fortran_order': False"), broken());
    let after = |key: &str| header.split_once(key).map(|(_, after)| after.trim_start()).with_context(broken);
    let kind = after("'descr':")?.split('\'').nth(1).with_context(broken)?.to_owned();
    let shape = after("'shape':")?.trim_start_matches('(').split(')').next().with_context(broken)?;
    let width = shape.split(',').nth(1).and_then(|width| width.trim().parse().ok()).with_context(broken)?;
    bytes.drain(..header_end);
    Ok((kind, width, bytes))
}

fn write(file: &Path, kind: &str, width: usize, numbers: impl Iterator<Item = [u8; 4]>, count: usize) -> Result<()> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}, {width}), }}", count / width);
    // The format wants the data on a multiple of 64.
    let total = (10 + header.len() + 1).next_multiple_of(64);
    header.push_str(&" ".repeat(total - 10 - header.len() - 1));
    header.push('\n');
    let context = || format!("could not write {}", file.display());
    let mut out = BufWriter::new(fs::File::create(file).with_context(context)?);
    out.write_all(MAGIC).with_context(context)?;
    out.write_all(&u16::try_from(header.len())?.to_le_bytes()).with_context(context)?;
    out.write_all(header.as_bytes()).with_context(context)?;
    for number in numbers {
        out.write_all(&number).with_context(context)?;
    }
    out.flush().with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrix_comes_back_from_its_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("matrix.npy");
        let floats = Matrix { width: 3, numbers: vec![1.5, -2.0, 0.25, 4.0, 5.0, 1e-30] };
        write_floats(&file, &floats).expect("it can be written");
        let read = read_floats(&file).expect("it can be read");
        assert_eq!((read.width, read.height(), &read.numbers), (3, 2, &floats.numbers));
        assert_eq!(read.row(1), [4.0, 5.0, 1e-30]);
        assert!(read_integers(&file).is_err());
        write_integers(&file, &Matrix { width: 1, numbers: vec![-1, 7] }).expect("it can be written");
        assert_eq!(read_integers(&file).expect("it can be read").numbers, [-1, 7]);
    }

    #[test]
    fn half_floats_as_numpy_writes_them_are_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("half.npy");
        let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }\n";
        let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
        let bytes = [MAGIC, &length, header.as_bytes(), &[0x00, 0x3c, 0x00, 0xc0]].concat();
        fs::write(&file, &bytes).expect("it can be written");
        assert_eq!(read_floats(&file).expect("it can be read").numbers, [1.0, -2.0]);
        for short in 0..header.len() {
            fs::write(&file, &bytes[..short]).expect("it can be written");
            assert!(read_floats(&file).is_err(), "{short} bytes");
        }
    }
}
