'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const fs = require('node:fs');
const { memory, filled, freshPath, throws, throwsSqlite, BUSY } = require('./support');

// An extension that needs no header: the routines are found by their places in SQLite's table, which never change.
const SOURCE = `
typedef void context; typedef void value;
static void **api;
static void answer(context *c, int n, value **v) { ((void (*)(context *, int))api[82])(c, n * 100); }
static int add(void *db, const char *name) {
	return ((int (*)(void *, const char *, int, int, void *, void *, void *, void *))api[45])(db, name, -1, 1, 0, (void *)answer, 0, 0);
}
int sqlite3_extension_init(void *db, char **error, void **routines) { api = routines; return add(db, "answer"); }
int other_entry(void *db, char **error, void **routines) { api = routines; return add(db, "other_answer"); }
int failing_entry(void *db, char **error, void **routines) {
	api = routines;
	*error = ((char *(*)(const char *, ...))api[69])("this extension does not want to");
	return 1;
}
`;

let library;
function build() {
	if (library !== undefined) return library;
	library = null;
	if (process.platform !== 'win32') {
		const source = freshPath('.c');
		const file = freshPath(process.platform === 'darwin' ? '.dylib' : '.so');
		fs.writeFileSync(source, SOURCE);
		const result = childProcess.spawnSync('cc', ['-shared', '-fPIC', '-o', file, source]);
		if (result.status === 0) library = file;
	}
	return library;
}
const skip = build() === null ? 'needs a C compiler called cc' : false;

describe('loadExtension(): arguments', () => {
	for (const value of [undefined, null, 5, {}, true]) {
		it(`wants a string first, not ${value === null ? 'null' : typeof value}`, () => throws(() => memory().loadExtension(value), TypeError, 'Expected first argument to be a string'));
	}
	it('refuses to be called with nothing', () => throws(() => memory().loadExtension(), TypeError, 'Expected first argument to be a string'));

	for (const value of [undefined, null, 5, {}]) {
		it(`wants a string for the entry point, not ${value === null ? 'null' : typeof value}`, () => throws(() => memory().loadExtension('x', value), TypeError, 'Expected second argument to be a string'));
	}
});

describe('loadExtension(): files', () => {
	it('says when there is no such file', () => {
		// The words are those of the system's loader.
		throwsSqlite(() => memory().loadExtension(freshPath('')), 'SQLITE_ERROR', /./);
	});

	it('says when the file is no library', () => {
		const file = freshPath('.so');
		fs.writeFileSync(file, 'not a library');
		throwsSqlite(() => memory().loadExtension(file), 'SQLITE_ERROR', /./);
	});

	it('loads an extension for this database only', { skip }, () => {
		const db = memory();
		assert.equal(db.loadExtension(build()), db);
		assert.equal(db.prepare('SELECT answer(1, 2)').pluck().get(), 200);
		throwsSqlite(() => memory().prepare('SELECT answer()'), 'SQLITE_ERROR', 'no such function: answer');
		db.close();
	});

	it('adds the ending of the system to the name', { skip }, () => {
		const db = memory().loadExtension(build().replace(/\.\w+$/, ''));
		assert.equal(db.prepare('SELECT answer()').pluck().get(), 0);
	});

	it('calls the entry point that it is told', { skip }, () => {
		const db = memory().loadExtension(build(), 'other_entry');
		assert.equal(db.prepare('SELECT other_answer(5)').pluck().get(), 100);
		throwsSqlite(() => db.prepare('SELECT answer()'), 'SQLITE_ERROR', 'no such function: answer');
	});

	it('says when there is no such entry point', { skip }, () => {
		throwsSqlite(() => memory().loadExtension(build(), 'no_such_entry'), 'SQLITE_ERROR', /no_such_entry/);
	});

	it('throws what the entry point reports', { skip }, () => {
		throwsSqlite(() => memory().loadExtension(build(), 'failing_entry'), 'SQLITE_ERROR', 'error during initialization: this extension does not want to');
	});

	it('may load twice', { skip }, () => {
		const db = memory().loadExtension(build()).loadExtension(build());
		assert.equal(db.prepare('SELECT answer(1)').pluck().get(), 100);
	});
});

describe('loadExtension(): safety', () => {
	it('does not open the SQL function load_extension()', () => {
		throwsSqlite(() => memory().prepare("SELECT load_extension('x')").get(), 'SQLITE_ERROR', 'not authorized');
	});

	it('is refused while an iterator is open, even in unsafe mode', () => {
		const db = filled(memory()).unsafeMode();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.loadExtension('x'), TypeError, BUSY);
		iterator.return();
	});

	it('is refused inside a user function', () => {
		const db = memory();
		db.function('f', () => { db.loadExtension('x'); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
	});
});
