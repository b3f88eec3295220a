'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, letters, row, throws, throwsType, throwsValue, throwsRange, throwsState, throwsSqlite } = require('./node-sqlite-support');

const NO_TEMPLATE = 'First argument must be an array of strings (template literal).';
const OWN_PARAMETERS = 'SQLite parameters must be bound using template literal placeholders.';

describe('createTagStore()', () => {
	it('makes a store of a database, empty, with room for 1000 statements or as many as are asked for', () => {
		const db = memory();
		const store = db.createTagStore();
		assert.equal(store.constructor.name, 'SQLTagStore');
		assert.equal(store.db, db);
		assert.equal(store.capacity, 1000);
		assert.equal(store.size, 0);
		assert.equal(db.createTagStore(undefined).capacity, 1000);
		assert.equal(db.createTagStore(2).capacity, 2);
		throws(() => new store.constructor(), Error, 'ERR_ILLEGAL_CONSTRUCTOR', 'Illegal constructor');
	});

	it('wants a positive integer', () => {
		const wrong = 'The "maxSize" argument must be a positive integer.';
		for (const size of ['x', null, {}, 5n]) throwsType(() => memory().createTagStore(size), wrong);
		for (const size of [0, -1, 1.5, NaN, Infinity]) throwsRange(() => memory().createTagStore(size), wrong);
	});
});

describe('a tag store', () => {
	it('runs statements with the values of a template literal', () => {
		const store = letters().createTagStore();
		assert.deepEqual(store.get`SELECT * FROM letters WHERE id = ${2}`, row({ id: 2, letter: 'b' }));
		assert.deepEqual(store.all`SELECT id FROM letters WHERE id > ${1} AND id < ${4} ORDER BY id`, [row({ id: 2 }), row({ id: 3 })]);
		assert.deepEqual([...store.iterate`SELECT id FROM letters WHERE id > ${3}`], [row({ id: 4 })]);
		assert.deepEqual(store.run`INSERT INTO letters VALUES(${5n}, ${'e'})`, { changes: 1, lastInsertRowid: 5 });
		assert.equal(store.get`SELECT * FROM letters WHERE id = ${9}`, undefined);
		assert.deepEqual(store.get`SELECT ${undefined} AS u, ${null} AS n, ${'x'} AS x`, row({ u: null, n: null, x: 'x' }));
	});

	it('keeps each statement once', () => {
		const store = letters().createTagStore();
		for (const id of [1, 2, 3]) store.get`SELECT * FROM letters WHERE id = ${id}`;
		assert.equal(store.size, 1);
		store.get`select * from letters where id = ${1}`;
		store.get`SELECT * FROM letters WHERE id = 1`;
		assert.equal(store.size, 3);
		assert.equal(store.clear(), undefined);
		assert.equal(store.size, 0);
	});

	it('gives up the one that was not used for the longest time', () => {
		const db = letters();
		const store = db.createTagStore(2);
		const first = store.iterate`SELECT id FROM letters ORDER BY id`;
		first.next();
		store.get`SELECT 1`;
		store.get`SELECT 2`;
		assert.equal(store.size, 2);
		// The first is not in the store any more, so that this is another statement, and the iterator is not disturbed.
		store.get`SELECT id FROM letters ORDER BY id`;
		assert.equal(first.next().value.id, 2);
		const second = store.iterate`SELECT id FROM letters ORDER BY id`;
		second.next();
		store.get`SELECT 3`;
		store.get`SELECT id FROM letters ORDER BY id`;
		throwsState(() => second.next(), 'iterator was invalidated');
	});

	it('leaves iterators alone when it is cleared', () => {
		const store = letters().createTagStore();
		const iterator = store.iterate`SELECT id FROM letters ORDER BY id`;
		iterator.next();
		store.clear();
		assert.equal(iterator.next().value.id, 2);
	});

	it('reads as the database says', () => {
		const store = letters({ returnArrays: true, readBigInts: true }).createTagStore();
		assert.deepEqual(store.get`SELECT * FROM letters WHERE id = ${1}`, [1n, 'a']);
	});

	it('can be called with arrays of texts', () => {
		const store = memory().createTagStore();
		assert.deepEqual(store.get(['SELECT 1 AS n']), row({ n: 1 }));
		assert.deepEqual(store.get(['SELECT ', ' AS n'], 5), row({ n: 5 }));
		for (const given of [undefined, null, 'SELECT 1', { length: 1, 0: 'SELECT 1' }]) throwsType(() => store.get(given), NO_TEMPLATE);
		for (const given of [[5], ['SELECT ', 5]]) throwsType(() => store.get(given, 1), 'Template literal parts must be strings.');
	});

	it('refuses parameters that are no values of the template', () => {
		const store = memory().createTagStore();
		throwsValue(() => store.get`SELECT ? AS x`, OWN_PARAMETERS);
		throwsValue(() => store.get`SELECT $a AS x, ${3} AS y`, OWN_PARAMETERS);
		// Though a statement of the same text is there.
		store.get`SELECT ${1} AS x`;
		throwsValue(() => store.get`SELECT ? AS x`, OWN_PARAMETERS);
	});

	it('refuses what statements refuse', () => {
		const store = memory().createTagStore();
		throwsSqlite(() => store.get`nonsense`, 1, 'near "nonsense": syntax error', 'SQL logic error');
		throwsValue(() => store.get``, 'The SQL query contains no statements.');
		throwsType(() => store.get`SELECT ${{}}`, 'Provided value cannot be bound to SQLite parameter 1.');
		assert.equal(store.size < 2, true);
	});

	it('goes on after its database was closed and opened', () => {
		const db = memory();
		const store = db.createTagStore();
		store.get`SELECT 1 AS n`;
		db.close();
		throwsState(() => store.get`SELECT 1 AS n`, 'database is not open');
		assert.equal(store.size, 1);
		db.open();
		assert.deepEqual(store.get`SELECT 1 AS n`, row({ n: 1 }));
		assert.equal(store.size, 1);
	});
});
