'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, letters, row, throws, throwsState, throwsRange, throwsSqlite } = require('./node-sqlite-support');

const ids = (iterator) => [...iterator].map(({ id }) => id);
const NUMBERS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n';

describe('iterate()', () => {
	it('returns an iterator that is iterable, over rows without prototype', () => {
		const iterator = letters().prepare('SELECT * FROM letters ORDER BY id').iterate();
		assert.equal(iterator[Symbol.iterator](), iterator);
		const step = iterator.next();
		assert.deepEqual(step, row({ done: false, value: row({ id: 1, letter: 'a' }) }));
		assert.equal(Object.getPrototypeOf(step.value), null);
		assert.deepEqual(ids(iterator), [2, 3, 4]);
		assert.deepEqual(iterator.next(), row({ done: true, value: null }));
		assert.deepEqual(iterator.next(), row({ done: true, value: null }));
	});

	it('is an iterator as the language has them', () => {
		const iterator = letters().prepare('SELECT id FROM letters').iterate();
		const { prototype } = [][Symbol.iterator]().constructor;
		assert.notEqual(prototype, null);
		const base = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
		assert.equal(Object.getPrototypeOf(Object.getPrototypeOf(iterator)), base);
		throws(() => new iterator.constructor(), Error, 'ERR_ILLEGAL_CONSTRUCTOR', 'Illegal constructor');
	});

	it('takes parameters', () => {
		const statement = letters().prepare('SELECT id FROM letters WHERE id > ? AND id < $most ORDER BY id');
		assert.deepEqual(ids(statement.iterate({ most: 4 }, 1)), [2, 3]);
		assert.deepEqual(ids(statement.iterate({ most: 9 }, 2)), [3, 4]);
	});

	it('goes through many rows', () => {
		let sum = 0;
		for (const { i } of memory().prepare(NUMBERS).iterate()) sum += i;
		assert.equal(sum, 500500);
	});

	it('goes through none', () => {
		assert.deepEqual([...letters().prepare('SELECT * FROM letters WHERE id > 9').iterate()], []);
		assert.deepEqual([...letters().prepare('DELETE FROM letters').iterate()], []);
	});

	it('runs what it is asked for, not before', () => {
		const db = letters();
		const iterator = db.prepare('DELETE FROM letters WHERE id = 1 RETURNING id').iterate();
		assert.equal(db.prepare('SELECT count(*) AS n FROM letters').get().n, 4);
		assert.deepEqual(ids(iterator), [1]);
		assert.equal(db.prepare('SELECT count(*) AS n FROM letters').get().n, 3);
	});

	it('can be left', () => {
		const db = letters();
		const iterator = db.prepare('SELECT id FROM letters').iterate();
		for (const { id } of iterator) if (id === 2) break;
		assert.deepEqual(iterator.next(), row({ done: true, value: null }));
		assert.deepEqual(iterator.return(), row({ done: true, value: null }));
		db.exec('DROP TABLE letters');
	});

	it('sees what is written between its steps', () => {
		const db = letters();
		const seen = [];
		for (const { id, letter } of db.prepare('SELECT * FROM letters ORDER BY id').iterate()) {
			seen.push(letter);
			db.prepare('UPDATE letters SET letter = upper(letter) WHERE id = ?').run(id + 1);
		}
		assert.deepEqual(seen, ['a', 'B', 'C', 'D']);
	});

	it('lets the table be changed, and other statements run, meanwhile', () => {
		const db = letters();
		const all = db.prepare('SELECT count(*) AS n FROM letters');
		const counts = [];
		for (const { id } of db.prepare('SELECT id FROM letters ORDER BY id').iterate()) {
			db.exec(`DELETE FROM letters WHERE id = ${id}`);
			counts.push(all.get().n);
		}
		assert.deepEqual(counts, [3, 2, 1, 0]);
	});

	it('is one of several at a time', () => {
		const db = letters();
		const [one, other] = [db.prepare('SELECT id FROM letters ORDER BY id').iterate(), db.prepare('SELECT id FROM letters ORDER BY id DESC').iterate()];
		assert.deepEqual([one.next().value.id, other.next().value.id, one.next().value.id, other.next().value.id], [1, 4, 2, 3]);
	});
});

describe('an iterator whose statement is used again', () => {
	for (const [title, use] of [
		['all()', (statement) => statement.all()],
		['get()', (statement) => statement.get()],
		['run()', (statement) => statement.run()],
		['iterate()', (statement) => statement.iterate()],
	]) {
		it(`is invalid after ${title}`, () => {
			const statement = memory().prepare(NUMBERS);
			const iterator = statement.iterate();
			// At any place, also where rows may have been taken ahead.
			for (let i = 0; i < 10; i += 1) iterator.next();
			use(statement);
			throwsState(() => iterator.next(), 'iterator was invalidated');
		});
	}

	it('may be left', () => {
		const statement = letters().prepare('SELECT id FROM letters ORDER BY id');
		const iterator = statement.iterate();
		iterator.next();
		statement.all();
		assert.deepEqual(iterator.return(), row({ done: true, value: null }));
	});

	it('is at its end if it was before', () => {
		const statement = letters().prepare('SELECT id FROM letters');
		const iterator = statement.iterate();
		assert.equal([...iterator].length, 4);
		statement.all();
		assert.deepEqual(iterator.next(), row({ done: true, value: null }));
	});
});

describe('an iterator whose statement is gone', () => {
	for (const [title, end] of [
		['with close()', (statement) => statement.close()],
		['with the database', (statement, db) => db.close()],
		['by deserialize()', (statement, db) => db.deserialize(db.serialize())],
	]) {
		it(`says so: ${title}`, () => {
			const db = letters();
			const statement = db.prepare(NUMBERS);
			const iterator = statement.iterate();
			for (let i = 0; i < 10; i += 1) iterator.next();
			end(statement, db);
			throwsState(() => iterator.next(), 'statement has been finalized');
			throwsState(() => iterator.return(), 'statement has been finalized');
		});
	}

	it('says so at its end too', () => {
		const statement = letters().prepare('SELECT id FROM letters');
		const iterator = statement.iterate();
		assert.equal([...iterator].length, 4);
		statement.close();
		throwsState(() => iterator.next(), 'statement has been finalized');
	});
});

describe('errors while iterating', () => {
	it('come at their row: a number that is too large', () => {
		const db = memory('CREATE TABLE t(n); INSERT INTO t VALUES(1),(2),(3),(9007199254740993),(4),(5)');
		const iterator = db.prepare('SELECT n FROM t ORDER BY rowid').iterate();
		assert.deepEqual([iterator.next(), iterator.next(), iterator.next()].map(({ value }) => value.n), [1, 2, 3]);
		throwsRange(() => iterator.next(), 'Value is too large to be represented as a JavaScript number: 9007199254740993');
		assert.deepEqual(iterator.next().value, row({ n: 4 }));
		assert.deepEqual(iterator.next().value, row({ n: 5 }));
		assert.equal(iterator.next().done, true);
	});

	it('come at their row: an error of SQLite\'s', () => {
		const db = memory(`CREATE TABLE t(j); INSERT INTO t VALUES('1'),('2'),('3'),('{'),('5')`);
		const iterator = db.prepare('SELECT json(j) AS j FROM t ORDER BY rowid').iterate();
		assert.deepEqual([iterator.next(), iterator.next(), iterator.next()].map(({ value }) => value.j), ['1', '2', '3']);
		throwsSqlite(() => iterator.next(), 1, 'malformed JSON', 'SQL logic error');
	});

	it('come at their row: what a function throws', () => {
		const db = letters();
		const failure = new Error('at three');
		db.function('checked', (id) => {
			if (id === 3) throw failure;
			return id;
		});
		const iterator = db.prepare('SELECT checked(id) AS v FROM letters ORDER BY id').iterate();
		assert.deepEqual([iterator.next().value.v, iterator.next().value.v], [1, 2]);
		assert.throws(() => iterator.next(), (error) => error === failure);
	});
});
