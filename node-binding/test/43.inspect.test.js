'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const util = require('node:util');
const { Database, memory, filled } = require('./support');

const SHOWN = (open) => `Database {
  name: ':memory:',
  open: ${open},
  inTransaction: false,
  readonly: false,
  memory: true
}`;

describe('util.inspect()', () => {
	it('shows a database by its properties', () => {
		assert.equal(util.inspect(memory()), SHOWN(true));
		assert.equal(util.inspect(memory().close()), SHOWN(false));
	});

	it('shows the state of the moment', () => {
		const db = memory('BEGIN');
		assert.match(util.inspect(db), /inTransaction: true/);
		db.exec('COMMIT');
		assert.match(util.inspect(db), /inTransaction: false/);
	});

	it('shows properties that a program added', () => {
		const db = memory();
		db.label = 'mine';
		assert.match(util.inspect(db), /label: 'mine'/);
	});

	it('shows a subclass as a database too', () => {
		class Notes extends Database {}
		assert.equal(util.inspect(new Notes(':memory:')), SHOWN(true));
	});

	it('stops at the depth that it is given', () => {
		assert.equal(util.inspect({ db: memory() }, { depth: 0 }), '{ db: [Database] }');
	});

	it('shows a statement with its source and database', () => {
		const text = util.inspect(memory().prepare('SELECT 1'));
		assert.match(text, /^Statement \{/);
		assert.match(text, /source: 'SELECT 1'/);
		assert.match(text, /reader: true/);
		assert.match(text, /readonly: true/);
		assert.match(text, /busy: (false|\[Getter\])/);
		assert.match(text, /database: Database \{/);
	});

	it('shows an iterator with its statement', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		assert.match(util.inspect(iterator, { depth: 0 }), /^StatementIterator \{/);
		assert.match(util.inspect(iterator), /source: 'SELECT \* FROM entries'/);
		iterator.return();
	});

	it('shows an SqliteError with its code', () => {
		const text = util.inspect(new Database.SqliteError('message', 'SQLITE_BUSY'));
		assert.match(text, /^SqliteError: message\n/);
		assert.match(text, /code: 'SQLITE_BUSY'/);
	});
});

describe('other ways of printing', () => {
	it('turns a database into JSON by its properties', () => {
		assert.equal(JSON.stringify(memory()), '{"name":":memory:","open":true,"inTransaction":false,"readonly":false,"memory":true}');
	});

	it('calls a database an object', () => {
		assert.equal(String(memory()), '[object Object]');
	});
});
