'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Database, freshPath, memory, filled, throws, throwsSqlite, BUSY } = require('./support');

const readEntries = (db) => db.prepare('SELECT i, t FROM entries ORDER BY i').raw().all();

describe('serialize(): arguments', () => {
	for (const value of [5, true, 'main', () => 'main']) {
		it(`refuses options of type ${typeof value}`, () => throws(() => memory().serialize(value), TypeError, 'Expected first argument to be an options object'));
	}
	for (const value of [5, null, undefined, {}, true]) {
		it(`wants a string for "attached", not ${value === null ? 'null' : typeof value}`, () => throws(() => memory().serialize({ attached: value }), TypeError, 'Expected the "attached" option to be a string'));
	}
	it('refuses an empty name', () => throws(() => memory().serialize({ attached: '' }), TypeError, 'The "attached" option cannot be an empty string'));

	it('accepts null and undefined', () => {
		const db = filled(memory());
		assert.ok(db.serialize().equals(db.serialize(null)));
		assert.ok(db.serialize().equals(db.serialize(undefined)));
		assert.ok(db.serialize().equals(db.serialize({ attached: 'main' })));
	});

	it('throws for a database that is not attached', () => {
		// The original reports this as "Out of memory": only that it fails is checked.
		assert.throws(() => memory().serialize({ attached: 'nowhere' }), Error);
	});
});

describe('serialize(): bytes', () => {
	it('is a buffer in the format of a database file', () => {
		const bytes = filled(memory()).serialize();
		assert.ok(Buffer.isBuffer(bytes));
		assert.equal(bytes.toString('latin1', 0, 16), 'SQLite format 3\0');
		assert.equal(bytes.length % 4096, 0);
	});

	it('is what the file of a database on disk holds', () => {
		const file = freshPath();
		const db = filled(new Database(file));
		assert.ok(db.serialize().equals(fs.readFileSync(file)));
		db.close();
	});

	it('can be written to a file and opened', () => {
		const file = freshPath();
		fs.writeFileSync(file, filled(memory(), 50).serialize());
		const db = new Database(file);
		assert.equal(readEntries(db).length, 50);
		assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
		db.close();
	});

	it('exists for an empty database too', () => {
		const bytes = memory().serialize();
		assert.ok(Buffer.isBuffer(bytes));
		assert.deepEqual(new Database(bytes).prepare('SELECT * FROM sqlite_master').all(), []);
	});

	it('is a copy: later changes of either side do not show in the other', () => {
		const db = filled(memory(), 1);
		const bytes = db.serialize();
		const before = Buffer.from(bytes);
		db.exec("UPDATE entries SET t = 'changed'");
		assert.ok(bytes.equals(before));
		bytes.fill(0);
		assert.deepEqual(readEntries(db), [[1, 'changed']]);
	});

	it('outlives its database', () => {
		const db = filled(memory());
		const bytes = db.serialize();
		db.close();
		assert.equal(readEntries(new Database(bytes)).length, 3);
	});

	it('takes an attached database', () => {
		const db = memory("ATTACH ':memory:' AS other; CREATE TABLE other.z (y); INSERT INTO other.z VALUES (5)");
		const copy = new Database(db.serialize({ attached: 'other' }));
		assert.deepEqual(copy.prepare('SELECT * FROM z').all(), [{ y: 5 }]);
	});

	it('shows what an open transaction has written so far', () => {
		const db = memory('CREATE TABLE a (b); BEGIN; INSERT INTO a VALUES (1)');
		assert.equal(db.serialize().length % 4096, 0);
		assert.equal(db.inTransaction, true);
		db.exec('ROLLBACK');
	});

	it('holds large databases', () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (zeroblob(20000000))');
		const bytes = db.serialize();
		assert.ok(bytes.length > 20000000);
		assert.equal(new Database(bytes).prepare('SELECT length(b) FROM a').pluck().get(), 20000000);
	});
});

describe('serialize(): opening the bytes', () => {
	it('gives an in-memory database that can be written', () => {
		const db = new Database(filled(memory()).serialize());
		assert.deepEqual({ ...db }, { name: ':memory:', open: true, inTransaction: false, readonly: false, memory: true });
		assert.equal(readEntries(db).length, 3);
		db.exec("INSERT INTO entries (i, t) VALUES (4, 'new')");
		assert.equal(readEntries(db).length, 4);
	});

	it('gives a database that can grow far beyond the buffer', () => {
		const db = new Database(filled(memory()).serialize());
		const insert = db.prepare('INSERT INTO entries (b) VALUES (zeroblob(2000))');
		db.transaction(() => { for (let i = 0; i < 2000; ++i) insert.run(); })();
		assert.equal(db.prepare('SELECT count(*) FROM entries').pluck().get(), 2003);
		assert.ok(db.serialize().length > 4000000);
	});

	it('does not touch the buffer, nor is it touched by changes of it', () => {
		const bytes = filled(memory()).serialize();
		const before = Buffer.from(bytes);
		const db = new Database(bytes);
		db.exec('DELETE FROM entries WHERE i = 1');
		assert.ok(bytes.equals(before));
		bytes.fill(0);
		assert.deepEqual(readEntries(db), [[2, 'text 2'], [3, 'text 3']]);
	});

	it('makes a database for each time the buffer is opened', () => {
		const bytes = filled(memory()).serialize();
		const one = new Database(bytes);
		const two = new Database(bytes);
		one.exec('DELETE FROM entries');
		assert.equal(readEntries(one).length, 0);
		assert.equal(readEntries(two).length, 3);
	});

	it('may be readonly', () => {
		const db = new Database(filled(memory()).serialize(), { readonly: true });
		assert.equal(db.readonly, true);
		assert.equal(db.memory, true);
		assert.equal(readEntries(db).length, 3);
		throwsSqlite(() => db.exec('DELETE FROM entries'), 'SQLITE_READONLY', 'attempt to write a readonly database');
	});

	it('takes the other options', () => {
		const bytes = filled(memory()).serialize();
		const seen = [];
		const db = new Database(bytes, { fileMustExist: true, timeout: 10, verbose: (sql) => seen.push(sql) });
		assert.equal(readEntries(db).length, 3);
		assert.equal(seen.length, 1);
		throws(() => new Database(bytes, { timeout: -1 }), TypeError, 'Expected the "timeout" option to be a positive integer');
	});

	it('takes a part of a larger buffer', () => {
		const bytes = filled(memory()).serialize();
		const larger = Buffer.concat([Buffer.alloc(100, 7), bytes, Buffer.alloc(100, 7)]);
		assert.equal(readEntries(new Database(larger.subarray(100, 100 + bytes.length))).length, 3);
	});

	it('takes an empty buffer for an empty database', () => {
		const db = new Database(Buffer.alloc(0));
		db.exec('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
		assert.deepEqual(new Database(db.serialize()).prepare('SELECT * FROM a').all(), [{ b: 1 }]);
	});

	for (const [title, bytes] of [['a few bytes', Buffer.from('junk')], ['pages of ones', Buffer.alloc(8192, 1)], ['text', Buffer.from('not a database '.repeat(1000))]]) {
		it(`says of ${title} that they are no database, at the first statement`, () => {
			const db = new Database(bytes);
			throwsSqlite(() => db.prepare('SELECT * FROM sqlite_master').all(), 'SQLITE_NOTADB', 'file is not a database');
			db.close();
		});
	}

	it('finds a truncated database malformed', () => {
		const bytes = filled(memory(), 2000).serialize();
		const db = new Database(bytes.subarray(0, bytes.length - 4096 * 10));
		throwsSqlite(() => { readEntries(db); }, /^SQLITE_(CORRUPT|IOERR|NOTADB)/);
		db.close();
	});

	it('cannot open the bytes of a database in WAL mode', () => {
		const db = new Database(freshPath());
		db.pragma('journal_mode = WAL');
		filled(db);
		const copy = new Database(db.serialize());
		throwsSqlite(() => readEntries(copy), 'SQLITE_CANTOPEN', 'unable to open database file');
		db.close();
	});

	it('wants a Buffer and no other kind of bytes', () => {
		const bytes = memory().serialize();
		throws(() => new Database(new Uint8Array(bytes)), TypeError, 'Expected first argument to be a string');
		throws(() => new Database(bytes.buffer), TypeError, 'Expected first argument to be a string');
	});

	it('survives many round trips', () => {
		let db = filled(memory(), 10);
		for (let i = 0; i < 20; ++i) {
			const next = new Database(db.serialize());
			db.close();
			next.exec(`INSERT INTO entries (i, t) VALUES (${100 + i}, 'round')`);
			db = next;
		}
		assert.equal(readEntries(db).length, 30);
		assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
	});
});

describe('serialize(): while busy', () => {
	it('is refused while an iterator is open, even in unsafe mode', () => {
		const db = filled(memory()).unsafeMode();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.serialize(), TypeError, BUSY);
		iterator.return();
		assert.ok(db.serialize().length > 0);
	});

	it('is refused inside a user function', () => {
		const db = memory();
		db.function('f', () => { db.serialize(); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
	});
});
