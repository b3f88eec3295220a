'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, freshPath, memory, filled, throws, throwsSqlite, throwsValue, BUSY } = require('./support');

const MODES = ['default', 'deferred', 'immediate', 'exclusive'];
const table = () => memory('CREATE TABLE a (b UNIQUE)');
const rows = (db) => db.prepare('SELECT b FROM a ORDER BY b').pluck().all();

describe('transaction(): the function it returns', () => {
	for (const value of [undefined, null, 5, 'SELECT 1', {}, [], Symbol('x')]) {
		it(`wants a function, not ${value === null ? 'null' : typeof value}${Array.isArray(value) ? ' []' : ''}`, () => {
			throws(() => memory().transaction(value), TypeError, 'Expected first argument to be a function');
		});
	}

	it('has the four variants and its database, on each variant again', () => {
		const db = memory();
		const transaction = db.transaction(() => {});
		assert.equal(transaction, transaction.default);
		assert.equal(new Set(MODES.map((mode) => transaction[mode])).size, 4);
		for (const mode of MODES) {
			for (const other of MODES) assert.equal(transaction[mode][other], transaction[other]);
			assert.equal(transaction[mode].database, db);
		}
	});

	it('does not let the variants be assigned', () => {
		const transaction = memory().transaction(() => {});
		for (const key of [...MODES, 'database']) assert.throws(() => { transaction[key] = 1; }, TypeError, key);
		assert.deepEqual(Object.keys(transaction), ['database']);
	});

	it('does not run anything by itself', () => {
		let calls = 0;
		const db = memory();
		db.transaction(() => { calls += 1; });
		assert.equal(calls, 0);
		assert.equal(db.inTransaction, false);
	});
});

for (const mode of MODES) {
	describe(`transaction().${mode}`, () => {
		it('passes on arguments, this and the result, and commits', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			const self = {};
			const transaction = db.transaction(function insertAll(...values) {
				assert.equal(this, self);
				assert.equal(db.inTransaction, true);
				for (const value of values) insert.run(value);
				return values.length;
			});
			assert.equal(transaction[mode].call(self, 1, 2, 3), 3);
			assert.equal(db.inTransaction, false);
			assert.deepEqual(rows(db), [1, 2, 3]);
		});

		it('rolls back when the function throws, whatever it throws', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			const transaction = db.transaction((value) => { insert.run(1); throw value; });
			for (const value of [new Error('mine'), 'text', 5, null, undefined]) {
				throwsValue(() => transaction[mode](value), value);
				assert.equal(db.inTransaction, false);
				assert.deepEqual(rows(db), []);
			}
		});

		it('rolls back when a statement fails', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			throwsSqlite(() => db.transaction(() => { insert.run(1); insert.run(1); })[mode](), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: a.b');
			assert.deepEqual(rows(db), []);
		});

		it('becomes a savepoint inside another transaction function, and commits with it', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			const inner = db.transaction((value) => { insert.run(value); });
			const outer = db.transaction(() => { insert.run(1); inner[mode](2); assert.equal(db.inTransaction, true); insert.run(3); });
			outer();
			assert.deepEqual(rows(db), [1, 2, 3]);
		});

		it('undoes only itself when it fails inside another one that goes on', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			const inner = db.transaction(() => { insert.run(2); throw new Error('inner'); });
			db.transaction(() => {
				insert.run(1);
				throws(() => inner[mode](), Error, 'inner');
				assert.equal(db.inTransaction, true);
				insert.run(3);
			})();
			assert.deepEqual(rows(db), [1, 3]);
		});

		it('is undone when the outer one fails after it', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			const inner = db.transaction(() => { insert.run(2); });
			throws(() => db.transaction(() => { insert.run(1); inner[mode](); throw new Error('outer'); })(), Error, 'outer');
			assert.deepEqual(rows(db), []);
			assert.equal(db.inTransaction, false);
		});

		it('lets its exception undo the outer one too when nobody catches it', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			const error = new Error('inner');
			const inner = db.transaction(() => { insert.run(2); throw error; });
			throwsValue(() => db.transaction(() => { insert.run(1); inner[mode](); })(), error);
			assert.deepEqual(rows(db), []);
		});

		it('is a savepoint inside a transaction that was begun by hand', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			db.exec('BEGIN; INSERT INTO a VALUES (1)');
			db.transaction(() => { insert.run(2); })[mode]();
			throws(() => db.transaction(() => { insert.run(3); throw new Error('mine'); })[mode](), Error, 'mine');
			assert.equal(db.inTransaction, true);
			db.exec('COMMIT');
			assert.deepEqual(rows(db), [1, 2]);
		});

		it('refuses a promise and rolls back', () => {
			const db = table();
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			throws(() => db.transaction(async () => { insert.run(1); })[mode](), TypeError, 'Transaction function cannot return a promise');
			throws(() => db.transaction(() => { insert.run(1); return { then() {} }; })[mode](), TypeError, 'Transaction function cannot return a promise');
			assert.deepEqual(rows(db), []);
			assert.deepEqual(db.transaction(() => { insert.run(1); return { then: 5 }; })[mode](), { then: 5 });
			assert.deepEqual(rows(db), [1]);
		});
	});
}

describe('transaction(): locks', () => {
	it('takes the locks that its variant says', () => {
		const file = freshPath();
		const db = new Database(file, { timeout: 0 }).exec('CREATE TABLE a (b)');
		const other = new Database(file, { timeout: 0 });
		const read = other.prepare('SELECT count(*) FROM a').pluck();
		const canRead = () => { try { read.get(); return true; } catch { return false; } };
		const canWrite = () => { try { other.exec('BEGIN IMMEDIATE; ROLLBACK'); return true; } catch { return false; } };
		const seen = {};
		const transaction = db.transaction((mode) => { seen[mode] = [canRead(), canWrite()]; });
		for (const mode of MODES) transaction[mode](mode);
		assert.deepEqual(seen, { default: [true, true], deferred: [true, true], immediate: [true, false], exclusive: [false, false] });
		assert.equal(canWrite(), true);
		db.close();
		other.close();
	});

	it('does not call the function when the lock is not to be had', () => {
		const file = freshPath();
		const holder = new Database(file).exec('CREATE TABLE a (b); BEGIN IMMEDIATE');
		const db = new Database(file, { timeout: 0 });
		let calls = 0;
		const transaction = db.transaction(() => { calls += 1; });
		throwsSqlite(() => transaction.immediate(), 'SQLITE_BUSY', 'database is locked');
		throwsSqlite(() => transaction.exclusive(), 'SQLITE_BUSY', 'database is locked');
		assert.equal(calls, 0);
		assert.equal(db.inTransaction, false);
		holder.exec('ROLLBACK');
		transaction.immediate();
		assert.equal(calls, 1);
		holder.close();
		db.close();
	});

	it('rolls back when the commit fails', () => {
		const db = memory('CREATE TABLE a (b PRIMARY KEY); CREATE TABLE c (d REFERENCES a(b) DEFERRABLE INITIALLY DEFERRED)');
		const transaction = db.transaction(() => { db.exec('INSERT INTO c VALUES (5)'); });
		throwsSqlite(() => transaction(), 'SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed');
		assert.equal(db.inTransaction, false);
		assert.equal(db.prepare('SELECT count(*) FROM c').pluck().get(), 0);
	});

	it('rolls back when a reader keeps it from committing', () => {
		const file = freshPath();
		const db = new Database(file, { timeout: 0 }).exec('CREATE TABLE a (b)');
		const reader = new Database(file).exec('BEGIN; SELECT * FROM a');
		throwsSqlite(() => db.transaction(() => { db.exec('INSERT INTO a VALUES (1)'); })(), 'SQLITE_BUSY', 'database is locked');
		assert.equal(db.inTransaction, false);
		reader.exec('COMMIT');
		assert.deepEqual(rows(db), []);
		db.close();
		reader.close();
	});
});

describe('transaction(): odd ends', () => {
	it('passes the error on when SQLite has rolled back by itself', () => {
		const db = table();
		db.exec('INSERT INTO a VALUES (1)');
		const transaction = db.transaction(() => {
			db.exec('INSERT INTO a VALUES (2)');
			db.exec('INSERT OR ROLLBACK INTO a VALUES (1)');
		});
		throwsSqlite(() => transaction(), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: a.b');
		assert.equal(db.inTransaction, false);
		assert.deepEqual(rows(db), [1]);
	});

	it('passes the error on through all levels when SQLite has rolled back by itself', () => {
		const db = table();
		db.exec('INSERT INTO a VALUES (1)');
		const inner = db.transaction(() => { db.exec('INSERT OR ROLLBACK INTO a VALUES (1)'); });
		const outer = db.transaction(() => { db.exec('INSERT INTO a VALUES (2)'); inner(); });
		throwsSqlite(() => outer(), 'SQLITE_CONSTRAINT_UNIQUE');
		assert.equal(db.inTransaction, false);
		assert.deepEqual(rows(db), [1]);
	});

	it('fails to commit when the function swallowed the error of a transaction that is gone', () => {
		const db = table();
		db.exec('INSERT INTO a VALUES (1)');
		const transaction = db.transaction(() => {
			assert.throws(() => db.exec('INSERT OR ROLLBACK INTO a VALUES (1)'));
			assert.equal(db.inTransaction, false);
		});
		throwsSqlite(() => transaction(), 'SQLITE_ERROR', 'cannot commit - no transaction is active');
	});

	it('fails to commit what the function has committed by hand', () => {
		const db = table();
		throwsSqlite(() => db.transaction(() => { db.exec('INSERT INTO a VALUES (1); COMMIT'); })(), 'SQLITE_ERROR', 'cannot commit - no transaction is active');
		assert.deepEqual(rows(db), [1]);
	});

	it('can be nested deeply', () => {
		const db = table();
		const insert = db.prepare('INSERT INTO a VALUES (?)');
		const down = db.transaction((depth) => {
			insert.run(depth);
			if (depth < 50) down(depth + 1);
			if (depth === 25) throw new Error('half');
		});
		const guard = db.transaction(() => {
			insert.run(0);
			try { down(1); } catch { assert.equal(db.inTransaction, true); }
		});
		guard();
		assert.deepEqual(rows(db), [0]);
	});

	it('can be run again and again', () => {
		const db = memory('CREATE TABLE a (b)');
		const insert = db.transaction((n) => db.prepare('INSERT INTO a VALUES (?)').run(n).changes);
		for (let i = 0; i < 200; ++i) assert.equal(insert(i), 1);
		assert.equal(rows(db).length, 200);
	});

	it('works as a method of an object and with a class', () => {
		const db = table();
		const store = { value: 7, save: db.transaction(function save() { db.prepare('INSERT INTO a VALUES (?)').run(this.value); }) };
		store.save();
		assert.deepEqual(rows(db), [7]);
	});

	it('is refused while an iterator is open', () => {
		const db = filled(memory());
		let calls = 0;
		const transaction = db.transaction(() => { calls += 1; });
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		for (const mode of MODES) throws(() => transaction[mode](), TypeError, BUSY);
		iterator.return();
		assert.equal(calls, 0);
		transaction();
		assert.equal(calls, 1);
	});

	it('cannot commit over an iterator that was left open inside it, and stays open', () => {
		const db = filled(memory());
		let iterator;
		throws(() => db.transaction(() => { iterator = db.prepare('SELECT * FROM entries').iterate(); iterator.next(); })(), TypeError, BUSY);
		assert.equal(db.inTransaction, true);
		iterator.return();
		db.exec('ROLLBACK');
	});

	it('is refused inside a user function', () => {
		const db = memory();
		const transaction = db.transaction(() => {});
		db.function('f', () => { transaction(); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
	});

	it('does not show statements of its own to the program', () => {
		const db = table();
		db.exec('SAVEPOINT mine');
		db.transaction(() => {})();
		db.exec('RELEASE mine');
		assert.equal(db.inTransaction, false);
	});
});
