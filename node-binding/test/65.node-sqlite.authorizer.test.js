'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { sqlite, memory, letters, row, get, throws, throwsType, throwsState, throwsSqlite } = require('./node-sqlite-support');

const { SQLITE_OK, SQLITE_DENY, SQLITE_IGNORE, SQLITE_READ, SQLITE_SELECT, SQLITE_CREATE_TABLE, SQLITE_INSERT, SQLITE_FUNCTION } = sqlite.constants;

describe('setAuthorizer()', () => {
	it('is asked about what a statement wants, with five arguments', () => {
		const db = letters();
		const seen = [];
		assert.equal(db.setAuthorizer((...given) => { seen.push(given); return SQLITE_OK; }), undefined);
		db.prepare('SELECT letter FROM letters');
		assert.deepEqual(seen[0], [SQLITE_SELECT, null, null, null, null]);
		assert.deepEqual(seen[1], [SQLITE_READ, 'letters', 'letter', 'main', null]);
		seen.length = 0;
		db.exec("INSERT INTO letters VALUES(9, 'i')");
		assert.deepEqual(seen, [[SQLITE_INSERT, 'letters', null, 'main', null]]);
	});

	it('names the view or trigger that something comes from', () => {
		const db = letters();
		db.exec('CREATE VIEW shown AS SELECT letter FROM letters');
		const seen = [];
		db.setAuthorizer((...given) => { seen.push(given); return SQLITE_OK; });
		db.prepare('SELECT letter FROM shown');
		assert.equal(seen.some(([action, table, , , view]) => action === SQLITE_READ && table === 'letters' && view === 'shown'), true);
	});

	it('denies', () => {
		const db = letters();
		db.setAuthorizer((action) => (action === SQLITE_CREATE_TABLE ? SQLITE_DENY : SQLITE_OK));
		throwsSqlite(() => db.exec('CREATE TABLE t(x)'), 23, 'not authorized', 'authorization denied');
		assert.equal(get(db, 'SELECT count(*) AS n FROM letters').n, 4);
	});

	it('has columns read as null', () => {
		const db = letters();
		db.setAuthorizer((action, table, column) => (action === SQLITE_READ && column === 'letter' ? SQLITE_IGNORE : SQLITE_OK));
		assert.deepEqual(get(db, 'SELECT * FROM letters'), row({ id: 1, letter: null }));
	});

	it('holds for statements that were prepared before', () => {
		const db = letters();
		const statement = db.prepare('SELECT letter FROM letters');
		db.setAuthorizer(() => SQLITE_DENY);
		throwsSqlite(() => statement.get(), 23, 'not authorized', 'authorization denied');
		db.setAuthorizer(null);
		assert.deepEqual(statement.get(), row({ letter: 'a' }));
	});

	it('is replaced by another', () => {
		const db = letters();
		db.setAuthorizer(() => SQLITE_DENY);
		db.setAuthorizer((action, first, second) => (action === SQLITE_FUNCTION && second === 'upper' ? SQLITE_DENY : SQLITE_OK));
		assert.equal(get(db, "SELECT lower('A') AS l").l, 'a');
		throwsSqlite(() => db.prepare("SELECT upper('a')"), 1, 'not authorized to use function: upper');
	});

	it('passes on what is thrown', () => {
		const db = letters();
		const failure = new Error('no');
		db.setAuthorizer(() => { throw failure; });
		assert.throws(() => db.prepare('SELECT 1'), (error) => error === failure);
		assert.throws(() => db.exec('SELECT 1'), (error) => error === failure);
	});

	it('must answer with one of the three numbers', () => {
		const db = letters();
		for (const answer of [3, -1]) {
			db.setAuthorizer(() => answer);
			throws(() => db.prepare('SELECT 1'), RangeError, undefined, 'Authorizer callback returned a invalid authorization code');
		}
		for (const answer of [undefined, null, '0', 0n, true, 1.5]) {
			db.setAuthorizer(() => answer);
			throws(() => db.prepare('SELECT 1'), TypeError, undefined, 'Authorizer callback must return an integer authorization code');
		}
	});

	it('wants a function, or null', () => {
		for (const callback of [undefined, 5, 'x', {}]) throwsType(() => memory().setAuthorizer(callback), 'The "callback" argument must be a function or null.');
	});
});

describe('within an authorizer', () => {
	const within = (action) => {
		const db = letters();
		const statement = db.prepare('SELECT 1');
		const iterator = db.prepare('SELECT id FROM letters').iterate();
		const store = db.createTagStore();
		db.setAuthorizer(() => {
			action({ db, statement, iterator, store });
			return SQLITE_OK;
		});
		db.prepare('SELECT 1');
		db.setAuthorizer(null);
	};

	it('the connection is not used', () => {
		for (const action of [
			({ db }) => db.prepare('SELECT 1'), ({ db }) => db.exec('SELECT 1'), ({ db }) => db.setAuthorizer(null), ({ db }) => db.function('f', () => 1),
			({ db }) => db.aggregate('f', { start: 0, step: () => 1 }), ({ db }) => db.createSession(), ({ db }) => db.createTagStore(), ({ db }) => db.serialize(),
			({ db }) => db.applyChangeset(new Uint8Array(0)), ({ db }) => db.enableDefensive(true), ({ db }) => { db.limits.column = 100; },
			({ db }) => db.createModule('m', { columns: [{ name: 'a', type: 'ANY' }], rows: () => [] }),
			({ statement }) => statement.get(), ({ statement }) => statement.all(), ({ statement }) => statement.run(), ({ statement }) => statement.iterate(),
			({ iterator }) => iterator.next(), ({ store }) => store.get`SELECT 1`,
		]) {
			throwsState(() => within(action), 'database cannot be accessed from an authorizer callback');
		}
	});

	it('it is not closed either', () => {
		throwsState(() => within(({ db }) => db.close()), 'database cannot be closed while in a callback');
		throwsState(() => within(({ db }) => db.open()), 'database is already open');
	});

	it('it can be asked, and another one used', () => {
		const other = letters();
		within(({ db, store }) => {
			assert.equal(db.isOpen, true);
			assert.equal(db.isTransaction, false);
			assert.equal(db.location(), null);
			assert.equal(db.limits.attach > 0, true);
			assert.equal(store.clear(), undefined);
			assert.equal(get(other, 'SELECT count(*) AS n FROM letters').n, 4);
		});
	});
});
