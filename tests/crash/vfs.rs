//! A VFS that forgets, on demand, what was written and not yet synced, and that fails on demand.
//!
//! It stands before SQLite's own VFS and becomes the default one of the process. Files in folders that are not watched pass
//! through untouched. Of a watched file it keeps the content as of the last sync, and every write, truncation and removal since.
//! A power cut sets each file to that content with a random choice of the later changes applied, some of them torn.
//!
//! Safety: SQLite calls the functions below with objects it made through [`open`]: a [`File`] followed, in the same allocation of
//! `szOsFile` bytes, by the file object of the VFS below, whose size is a multiple of nothing but whose place is aligned because
//! `File` has the size of two pointers. Every function does no more than note the call and pass it on to that second object. The
//! shared state is behind a mutex; SQLite never calls a VFS from within a VFS, so it is never locked twice.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

use kithdb_tests::random::Random;
use rusqlite::ffi;

/// Below this size the disk writes a piece whole or not at all.
const SECTOR_BYTES: usize = 512;

/// When writing is to fail.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The power goes before this operation, counted from when the fault is set: it and all later ones fail.
    PowerCut(u64),
    /// This operation fails with the code, and if `stays` all later ones do.
    Error { at: u64, code: c_int, stays: bool },
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
    Remove,
}

#[derive(Debug, Default)]
struct Watched {
    /// The content as of the last sync; `None` if there was no file.
    durable: Option<Vec<u8>>,
    since: Vec<Change>,
}

impl Watched {
    fn was_removed(&self) -> bool {
        self.since.iter().any(|change| matches!(change, Change::Remove))
    }
}

#[derive(Debug, Default)]
struct Folder {
    files: BTreeMap<PathBuf, Watched>,
    operations: u64,
    fault: Option<Fault>,
    is_lifted: bool,
}

static FOLDERS: Mutex<BTreeMap<PathBuf, Folder>> = Mutex::new(BTreeMap::new());
static BELOW: OnceLock<usize> = OnceLock::new();

fn folders() -> MutexGuard<'static, BTreeMap<PathBuf, Folder>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches a folder, which must be empty and named by its canonical path.
pub fn watch(folder: &Path) {
    install();
    folders().insert(folder.to_owned(), Folder::default());
}

/// Forgets a folder.
pub fn unwatch(folder: &Path) {
    folders().remove(folder);
}

/// Sets or clears the fault of a folder and begins to count again; returns how many operations there were.
pub fn set_fault(folder: &Path, fault: Option<Fault>) -> u64 {
    let mut folders = folders();
    let folder = folders.get_mut(folder).expect("the folder is watched");
    folder.fault = fault;
    folder.is_lifted = false;
    std::mem::take(&mut folder.operations)
}

/// Lets operations succeed from now on; whether the fault has happened can still be asked.
pub fn lift_fault(folder: &Path) {
    let mut folders = folders();
    let folder = folders.get_mut(folder).expect("the folder is watched");
    folder.is_lifted = true;
}

/// Tells whether the fault of a folder has happened.
pub fn has_failed(folder: &Path) -> bool {
    let folders = folders();
    let folder = folders.get(folder).expect("the folder is watched");
    match folder.fault {
        Some(Fault::PowerCut(at) | Fault::Error { at, .. }) => folder.operations >= at,
        None => false,
    }
}

/// Makes the files of a folder what they are after the power was cut; no connection may be open.
pub fn cut_power(path: &Path, random: &mut Random) {
    let mut folders = folders();
    let folder = folders.get_mut(path).expect("the folder is watched");
    folder.fault = None;
    folder.operations = 0;
    for (name, file) in &mut folder.files {
        let content = after_cut(file, random);
        match &content {
            // Written in place: it stays the same file.
            Some(bytes) => std::fs::write(name, bytes).expect("the folder can be written to"),
            None => drop(std::fs::remove_file(name)),
        }
        *file = Watched { durable: content, since: Vec::new() };
    }
    folder.files.retain(|_, file| file.durable.is_some());
    for entry in std::fs::read_dir(path).expect("the folder can be read") {
        let name = entry.expect("the folder can be read").path();
        if name.as_os_str().as_bytes().ends_with(b"-shm") {
            std::fs::remove_file(name).expect("the folder can be written to");
        }
    }
}

fn after_cut(file: &mut Watched, random: &mut Random) -> Option<Vec<u8>> {
    let kept_percent = *random.pick(&[0, 50, 90, 100]);
    let mut content = file.durable.take();
    for change in file.since.drain(..) {
        let is_kept = random.percent(kept_percent);
        match change {
            Change::Write(at, mut bytes) if is_kept => {
                if random.percent(10) {
                    bytes.truncate(random.below(bytes.len() / SECTOR_BYTES + 1) * SECTOR_BYTES);
                }
                write_into(content.get_or_insert_default(), at, &bytes);
            }
            Change::Truncate(len) if is_kept => content.get_or_insert_default().truncate(len as usize),
            Change::Remove if is_kept => content = None,
            // What came after the removal was in another file of that name, which is lost with its entry in the folder.
            Change::Remove => break,
            Change::Write(..) | Change::Truncate(_) => {}
        }
    }
    content
}

fn write_into(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let (from, to) = (at as usize, at as usize + bytes.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(bytes);
}

/// Counts an operation on a watched file; fails if it is to fail.
fn count(folder: &mut Folder) -> Result<(), c_int> {
    // Once the cause is gone, what comes is not counted: the fault has met its operation or never will.
    if folder.is_lifted {
        return Ok(());
    }
    folder.operations += 1;
    match folder.fault {
        Some(Fault::PowerCut(at)) if folder.operations >= at => Err(ffi::SQLITE_IOERR),
        Some(Fault::Error { at, code, stays }) if folder.operations == at || (stays && folder.operations > at) => {
            Err(code)
        }
        _ => Ok(()),
    }
}

/// Notes a change of a watched file, or fails.
fn note(name: &Path, change: Change) -> Result<(), c_int> {
    let mut folders = folders();
    let Some(folder) = name.parent().and_then(|parent| folders.get_mut(parent)) else { return Ok(()) };
    let before = folder.operations;
    let counted = count(folder);
    // The write that the power cut met may have reached the disk.
    let meets_cut = matches!(folder.fault, Some(Fault::PowerCut(at)) if before + 1 == at);
    if counted.is_ok() || meets_cut {
        folder.files.entry(name.to_owned()).or_default().since.push(change);
    }
    counted
}

fn note_sync(name: &Path) -> Result<(), c_int> {
    let mut folders = folders();
    let Some(folder) = name.parent().and_then(|parent| folders.get_mut(parent)) else { return Ok(()) };
    count(folder)?;
    let is_new = folder.files.get(name).is_none_or(|file| file.durable.is_none() || file.was_removed());
    if is_new && [b"-wal".as_slice(), b"-journal"].iter().any(|end| name.as_os_str().as_bytes().ends_with(end)) {
        // The VFS below syncs the folder of a new journal with its first sync.
        sync_entries(folder);
    }
    let file = folder.files.entry(name.to_owned()).or_default();
    let mut content = file.durable.take();
    for change in file.since.drain(..) {
        match change {
            Change::Write(at, bytes) => write_into(content.get_or_insert_default(), at, &bytes),
            Change::Truncate(len) => content.get_or_insert_default().truncate(len as usize),
            Change::Remove => content = None,
        }
    }
    file.durable = Some(content.unwrap_or_default());
    Ok(())
}

/// Syncs a folder: what was removed stays so.
fn sync_entries(folder: &mut Folder) {
    for file in folder.files.values_mut() {
        if let Some(at) = file.since.iter().rposition(|change| matches!(change, Change::Remove)) {
            file.since.drain(..=at);
            file.durable = None;
        }
    }
}

fn note_removal(name: &Path, is_synced: bool) -> Result<(), c_int> {
    note(name, Change::Remove)?;
    let mut folders = folders();
    if is_synced && let Some(folder) = name.parent().and_then(|parent| folders.get_mut(parent)) {
        sync_entries(folder);
    }
    Ok(())
}

#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// The path of a watched file, or null.
    name: *mut PathBuf,
}

/// Finds the file object of the VFS below.
///
/// # Safety
/// `file` must be a [`File`] as described at the top.
unsafe fn below(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: the object follows in the same allocation.
    unsafe { file.cast::<u8>().add(size_of::<File>()).cast() }
}

/// # Safety
/// `file` must be a [`File`] as described at the top.
unsafe fn name_of<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a Path> {
    // SAFETY: the name is null or a box that lives until the file is closed.
    unsafe { (*file.cast::<File>()).name.as_ref().map(PathBuf::as_path) }
}

/// Passes a call on to the file below.
macro_rules! pass {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let real = below($file);
        ((*(*real).pMethods).$method.expect("SQLite's own VFS has all methods"))(real $(, $argument)*)
    }};
}

/// Defines methods that do nothing but pass the call on.
macro_rules! passing {
    ($($name:ident = $method:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $kind)*) -> $result {
            // SAFETY: as described at the top.
            unsafe { pass!(file, $method $(, $argument)*) }
        }
    )*};
}

passing! {
    read = xRead(to: *mut c_void, len: c_int, at: i64) -> c_int;
    file_size = xFileSize(out: *mut i64) -> c_int;
    lock = xLock(level: c_int) -> c_int;
    unlock = xUnlock(level: c_int) -> c_int;
    check_lock = xCheckReservedLock(out: *mut c_int) -> c_int;
    control = xFileControl(operation: c_int, argument: *mut c_void) -> c_int;
    sector_size = xSectorSize() -> c_int;
    characteristics = xDeviceCharacteristics() -> c_int;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int;
    shm_barrier = xShmBarrier() -> ();
    shm_unmap = xShmUnmap(remove: c_int) -> c_int;
    fetch = xFetch(at: i64, len: c_int, out: *mut *mut c_void) -> c_int;
    unfetch = xUnfetch(at: i64, page: *mut c_void) -> c_int;
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: as described at the top; the name was boxed by `open` and is not used again.
    unsafe {
        let name = (*file.cast::<File>()).name;
        if !name.is_null() {
            drop(Box::from_raw(name));
        }
        pass!(file, xClose)
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, len: c_int, at: i64) -> c_int {
    // SAFETY: as described at the top; SQLite hands over `len` valid bytes.
    unsafe {
        if let Some(name) = name_of(file) {
            let bytes = std::slice::from_raw_parts(from.cast::<u8>(), len as usize).to_vec();
            if let Err(code) = note(name, Change::Write(at as u64, bytes)) {
                return code;
            }
        }
        pass!(file, xWrite, from, len, at)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: as described at the top.
    unsafe {
        if let Some(Err(code)) = name_of(file).map(|name| note(name, Change::Truncate(len as u64))) {
            return code;
        }
        pass!(file, xTruncate, len)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as described at the top. What counts as synced is what was noted, so the disk itself is left alone.
    unsafe {
        match name_of(file).map(note_sync) {
            Some(Ok(())) => ffi::SQLITE_OK,
            Some(Err(code)) => code,
            None => pass!(file, xSync, flags),
        }
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_lock),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};

/// Returns the path if it is of a watched folder.
///
/// # Safety
/// `name` must be null or a C string.
unsafe fn watched(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: as promised by our caller.
    let path = PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    path.parent().is_some_and(|parent| folders().contains_key(parent)).then_some(path)
}

unsafe fn real_vfs() -> *mut ffi::sqlite3_vfs {
    *BELOW.get().expect("the VFS is installed") as *mut ffi::sqlite3_vfs
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives room for `szOsFile` bytes, which `install` has set to what both objects need; `pMethods` tells it
    // whether to close the file, so it is set only when the file below is open.
    unsafe {
        (*file).pMethods = std::ptr::null();
        (*below(file)).pMethods = std::ptr::null();
        let vfs = real_vfs();
        let code = (*vfs).xOpen.expect("SQLite's own VFS has all methods")(vfs, name, below(file), flags, out_flags);
        if code == ffi::SQLITE_OK {
            let name = watched(name).map_or(std::ptr::null_mut(), |path| Box::into_raw(Box::new(path)));
            (*file.cast::<File>()).name = name;
            (*file).pMethods = &raw const METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite gives a C string; the call is passed on.
    unsafe {
        if let Some(path) = watched(name)
            && path.exists()
            && let Err(code) = note_removal(&path, sync_folder != 0)
        {
            return code;
        }
        let vfs = real_vfs();
        (*vfs).xDelete.expect("SQLite's own VFS has all methods")(vfs, name, 0)
    }
}

/// Registers the VFS as the default one, once.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite's own VFS lives as long as the process, and so does ours, which is leaked. The methods that are copied
        // from the former use nothing of the object they are called with.
        unsafe {
            let real = ffi::sqlite3_vfs_find(std::ptr::null());
            BELOW.get_or_init(|| real as usize);
            let mut vfs: ffi::sqlite3_vfs = std::ptr::read(real);
            vfs.zName = c"kith-crash".as_ptr();
            vfs.szOsFile += c_int::try_from(size_of::<File>()).expect("a file object is small");
            vfs.pNext = std::ptr::null_mut();
            vfs.xOpen = Some(open);
            vfs.xDelete = Some(delete);
            assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 1), ffi::SQLITE_OK);
        }
    });
}
