//! Arrays held against plain lists.

use proptest::prelude::*;

use super::*;

fn filled(stride: usize, rows: usize) -> Rows {
    let mut filled = Rows::new(stride, 64);
    for row in 0..rows {
        filled.row_mut(row).fill(row as u8);
    }
    filled
}

#[test]
fn clone_keeps_its_rows_when_the_other_one_is_written() {
    let mut rows = filled(12, 200);
    let copy = rows.clone();
    rows.row_mut(70).fill(255);
    rows.row_mut(300).fill(255);
    assert_eq!(copy.row(70), [70; 12]);
    assert_eq!(rows.row(70), [255; 12]);
    assert_eq!((copy.len(), rows.len()), (200, 301));
    assert_eq!(rows.row(299), [0; 12]);
    assert_eq!(rows.row(71), [71; 12]);
}

#[test]
fn foreign_rows_are_read_and_copied_when_written() {
    let source: Arc<Vec<u64>> = Arc::new((0..64 * 200 / 8).collect());
    struct Words(Arc<Vec<u64>>, usize);
    impl AsRef<[u8]> for Words {
        fn as_ref(&self) -> &[u8] {
            // SAFETY: words are plain bytes.
            let bytes = unsafe { self.0.align_to::<u8>().1 };
            let line = bytes.as_ptr().addr().next_multiple_of(64) - bytes.as_ptr().addr();
            &bytes[line + self.1..]
        }
    }
    for shift in [0, 8] {
        let foreign: ForeignBytes = Arc::new(Words(Arc::clone(&source), shift));
        let expected = (*foreign).as_ref().to_vec();
        let mut rows = Rows::new(16, 64).with_foreign(&foreign, 64, 150).expect("long enough");
        assert_eq!(rows.memory_bytes() < 1_000, shift == 0, "unaligned bytes are copied");
        for row in 0..150 {
            assert_eq!(rows.row(row), &expected[64 + row * 16..][..16]);
        }
        rows.row_mut(149).fill(9);
        rows.row_mut(150).fill(8);
        assert_eq!(rows.row(148), &expected[64 + 148 * 16..][..16]);
        assert_eq!((rows.row(149), rows.row(150)), ([9; 16].as_slice(), [8; 16].as_slice()));
        assert_eq!((*foreign).as_ref(), expected);
        assert_eq!(rows.pieces().map(<[u8]>::len).sum::<usize>(), 151 * 16);
        assert!(Rows::new(16, 64).with_foreign(&foreign, 64, 100_000).is_err());
        assert!(Rows::new(16, 64).with_foreign(&foreign, 64, usize::MAX).is_err());
    }
}

/// Memory that begins on a cache line.
struct Aligned(Arc<[Line]>);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self.0.as_flattened_bytes()
    }
}

fn moved(rows: &mut Rows, which: Which) {
    let bytes = rows.whole_chunks(which).collect::<Vec<_>>().concat();
    let foreign: ForeignBytes = Arc::new(Aligned(owned(&bytes, bytes.len())));
    assert_eq!(rows.take_whole_chunks(which, &foreign, 0).expect("long enough"), bytes.len());
}

#[test]
fn chunks_that_do_not_fit_the_foreign_bytes_stay_where_they_are() {
    let mut rows = filled(12, 200);
    let bytes = rows.whole_chunks(Which::Owned).collect::<Vec<_>>().concat();
    assert_eq!(bytes.len(), 3 * 64 * 12, "the last chunk is not whole");
    let short: ForeignBytes = Arc::new(Aligned(owned(&bytes[..bytes.len() - 64], 0)));
    let shifted: ForeignBytes = Arc::new(Aligned(owned(&[&[0; 4], &bytes[..]].concat(), 0)));
    let before = rows.memory_bytes();
    assert!(rows.take_whole_chunks(Which::Owned, &short, 0).is_err());
    assert!(rows.take_whole_chunks(Which::Owned, &shifted, 4).is_err());
    assert_eq!((rows.memory_bytes(), rows.foreign_bytes()), (before, 0));
}

#[test]
fn unchanged_chunks_are_taken_from_elsewhere_and_changed_ones_are_not() {
    let mut rows = filled(12, 200);
    let copy = rows.clone();
    let bytes = copy.pieces().collect::<Vec<_>>().concat();
    let foreign: ForeignBytes = Arc::new(Aligned(owned(&bytes, 0)));
    let same = Rows::new(12, 64).with_foreign(&foreign, 0, 200).expect("long enough");
    rows.row_mut(70).fill(255);
    rows.take_unchanged(&copy, &same);
    assert_eq!(rows.foreign_bytes(), 2 * 64 * 12, "one is changed, and the last one has more room than there are rows");
    assert_eq!((rows.row(70), rows.row(71), rows.row(199)), (&[255; 12][..], &[71; 12][..], &[199; 12][..]));
}

proptest! {
    #[test]
    fn rows_hold_what_a_plain_list_holds(stride in 1usize..40, writes in proptest::collection::vec((0usize..400, any::<u8>()), 1..60)) {
        let mut rows = Rows::new(stride, 64);
        let mut model = vec![];
        for (row, byte) in writes {
            rows.row_mut(row).fill(byte);
            model.resize(model.len().max(row + 1), 0);
            model[row] = byte;
            match byte {
                0..40 => moved(&mut rows, Which::Owned),
                40..60 => moved(&mut rows, Which::All),
                _ => {}
            }
            let sum = |is_owned: bool| -> usize {
                let lens = rows.chunks.iter().filter(|chunk| matches!(chunk, Chunk::Owned(_)) == is_owned);
                lens.map(|chunk| chunk.bytes().len()).sum()
            };
            prop_assert_eq!((rows.owned_bytes, rows.foreign_bytes), (sum(true), sum(false)));
        }
        prop_assert_eq!(rows.len(), model.len());
        let flat: Vec<u8> = model.iter().flat_map(|&byte| std::iter::repeat_n(byte, stride)).collect();
        for first in (0..model.len()).step_by(BLOCK_ROWS) {
            let end = (first + BLOCK_ROWS).min(model.len());
            prop_assert_eq!(rows.block(first), &flat[first * stride..end * stride]);
        }
    }
}
