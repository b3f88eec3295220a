'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, BUSY, STATEMENT_BUSY } = require('./support');

// Iterates over entries and does something at the first row.
function whileIterating(db, action) {
	const iterator = db.prepare('SELECT * FROM entries').iterate();
	iterator.next();
	try {
		return action();
	} finally {
		iterator.return();
	}
}

describe('unsafeMode(): the switch', () => {
	it('returns the database and can be turned on and off', () => {
		const db = filled(memory());
		const write = db.prepare("INSERT INTO entries (t) VALUES ('x')");
		assert.equal(db.unsafeMode(), db);
		assert.equal(whileIterating(db, () => write.run().changes), 1);
		assert.equal(db.unsafeMode(false), db);
		throws(() => whileIterating(db, () => write.run()), TypeError, BUSY);
		db.unsafeMode(true);
		assert.equal(whileIterating(db, () => write.run().changes), 1);
	});

	for (const value of [undefined, null, 0, 1, 'true', {}]) {
		it(`wants a boolean, not ${value === undefined ? 'undefined' : JSON.stringify(value)}`, () => {
			const db = filled(memory());
			throws(() => db.unsafeMode(value), TypeError, 'Expected first argument to be a boolean');
			throws(() => whileIterating(db, () => db.exec('SELECT 1')), TypeError, BUSY);
		});
	}

	it('belongs to one database', () => {
		const db = filled(memory());
		memory().unsafeMode();
		throws(() => whileIterating(db, () => db.exec('SELECT 1')), TypeError, BUSY);
	});

	it('can be turned while an iterator is open', () => {
		const db = filled(memory());
		whileIterating(db, () => {
			throws(() => db.exec('SELECT 1'), TypeError, BUSY);
			db.unsafeMode();
			db.exec('SELECT 1');
			db.unsafeMode(false);
			throws(() => db.exec('SELECT 1'), TypeError, BUSY);
		});
	});
});

describe('unsafeMode(): what it allows while iterating', () => {
	it('run, exec, pragma and transactions', () => {
		const db = filled(memory()).unsafeMode();
		whileIterating(db, () => {
			assert.equal(db.prepare('UPDATE entries SET n = 1 WHERE i = 3').run().changes, 1);
			db.exec("INSERT INTO entries (t) VALUES ('x')");
			assert.equal(db.pragma('user_version', { simple: true }), 0);
			assert.equal(db.transaction(() => db.prepare('DELETE FROM entries WHERE i = 2').run().changes)(), 1);
		});
		assert.deepEqual(db.prepare('SELECT t, n FROM entries').raw().all(), [['text 1', null], ['text 3', 1], ['x', null]]);
	});

	it('shows the iterator what was written ahead of it', () => {
		const db = memory('CREATE TABLE a (b INTEGER PRIMARY KEY); INSERT INTO a VALUES (1)').unsafeMode();
		const insert = db.prepare('INSERT INTO a VALUES (?)');
		const seen = [];
		for (const b of db.prepare('SELECT b FROM a ORDER BY b').pluck().iterate()) {
			seen.push(b);
			if (b < 5) insert.run(b + 1);
		}
		assert.deepEqual(seen, [1, 2, 3, 4, 5]);
	});

	it('still has SQLite refuse what would pull the table away', () => {
		const db = filled(memory()).unsafeMode();
		whileIterating(db, () => {
			throwsSqlite(() => db.exec('DROP TABLE entries'), 'SQLITE_LOCKED', 'database table is locked');
		});
		db.exec('DROP TABLE entries');
	});
});

describe('unsafeMode(): what stays forbidden', () => {
	it('a second use of the statement that is iterated', () => {
		const statement = filled(memory()).unsafeMode().prepare('SELECT * FROM entries');
		const iterator = statement.database.prepare('SELECT 1').iterate();
		iterator.return();
		const open = statement.iterate();
		for (const method of ['get', 'all', 'iterate', 'run', 'bind', 'pluck']) throws(() => statement[method](), TypeError, STATEMENT_BUSY);
		open.return();
	});

	it('close, serialize, function, aggregate, table and loadExtension while iterating', () => {
		const db = filled(memory()).unsafeMode();
		whileIterating(db, () => {
			throws(() => db.close(), TypeError, BUSY);
			throws(() => db.serialize(), TypeError, BUSY);
			throws(() => db.function('f', () => 1), TypeError, BUSY);
			throws(() => db.aggregate('f', { step: () => 1 }), TypeError, BUSY);
			throws(() => db.table('t', () => {}), TypeError, BUSY);
			throws(() => db.loadExtension('x'), TypeError, BUSY);
		});
	});

	it('any use of the database inside a user function', () => {
		const db = memory('CREATE TABLE a (b)').unsafeMode();
		const insert = db.prepare('INSERT INTO a VALUES (1)');
		const attempts = [() => db.exec('SELECT 1'), () => db.prepare('SELECT 1'), () => insert.run(), () => db.pragma('user_version'), () => db.close()];
		db.function('f', (i) => { attempts[i](); });
		for (const i of attempts.keys()) throws(() => db.prepare('SELECT f(?)').get(i), TypeError, BUSY);
	});
});

describe('unsafeMode(): defensive mode', () => {
	it('lets the schema be written, and forbids it again when turned off', () => {
		const db = memory('CREATE TABLE a (b)');
		const rename = "UPDATE sqlite_master SET name = 'c', tbl_name = 'c', sql = 'CREATE TABLE c (b)' WHERE name = 'a'";
		db.pragma('writable_schema = ON');
		throwsSqlite(() => db.exec(rename), 'SQLITE_ERROR', 'table sqlite_master may not be modified');
		db.unsafeMode();
		db.pragma('writable_schema = ON');
		db.exec(rename);
		db.unsafeMode(false);
		throwsSqlite(() => db.exec('DELETE FROM sqlite_master'), 'SQLITE_ERROR', 'table sqlite_master may not be modified');
	});

	it('keeps shadow tables from being written', () => {
		const db = memory('CREATE VIRTUAL TABLE d USING fts5(body)');
		throwsSqlite(() => db.exec('DELETE FROM d_content'), 'SQLITE_ERROR', 'table d_content may not be modified');
		db.unsafeMode();
		db.exec('DELETE FROM d_content');
	});

	it('keeps journal_mode from being turned off', () => {
		const db = memory();
		assert.equal(db.pragma('journal_mode = OFF', { simple: true }), 'memory');
		db.unsafeMode();
		assert.equal(db.pragma('journal_mode = OFF', { simple: true }), 'off');
	});
});
