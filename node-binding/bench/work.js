'use strict';
// One measurement in a process of its own: `node work.js FACE PACKAGE WORK FILE`. `cargo xtask bench node` starts it for ours and for
// an original in turn. Prints the processor time of the work alone, all threads, in milliseconds.

const ROWS = 100_000;
const AUTOCOMMIT_ROWS = 20_000;
const GETS = 300_000;
const PAGES = 3_000;
const PAGE_ROWS = 100;
const SCANS = 3;

const CREATE = 'CREATE TABLE entries(key INTEGER PRIMARY KEY, number INTEGER, real REAL, text TEXT, blob BLOB)';
const INSERT = 'INSERT INTO entries VALUES(?, ?, ?, ?, ?)';
const ALL = 'SELECT * FROM entries';

/** Each opens a database; their statements have the same methods from there on. */
const faces = {
	'better-sqlite3': (location, file) => new (require(location))(file),
	'node:sqlite': (location, file) => new (require(location).DatabaseSync)(file),
};

/** Each prepares, and returns what is measured. */
const works = {
	'insert in a transaction'(database, afterCreate = () => {}) {
		database.exec(CREATE);
		afterCreate(database);
		const insert = inserts(database, ROWS);
		return () => {
			database.exec('BEGIN');
			insert();
			database.exec('COMMIT');
		};
	},
	'autocommit insert'(database, afterCreate = () => {}) {
		database.exec(CREATE);
		afterCreate(database);
		return inserts(database, AUTOCOMMIT_ROWS);
	},
	'synced insert in a transaction': (database) => works['insert in a transaction'](database, sync),
	'synced autocommit insert': (database) => works['autocommit insert'](database, sync),
	get(database) {
		const statement = database.prepare('SELECT * FROM entries WHERE key = ?');
		return () => {
			let sum = 0;
			for (let index = 0; index < GETS; index += 1) sum += statement.get((index * 7919) % ROWS + 1).number;
			expect(sum > GETS);
		};
	},
	'all 100'(database) {
		const statement = database.prepare(`SELECT * FROM entries WHERE key >= ? LIMIT ${PAGE_ROWS}`);
		return () => {
			for (let index = 0; index < PAGES; index += 1) {
				expect(statement.all((index * 7919) % (ROWS - PAGE_ROWS) + 1).length === PAGE_ROWS);
			}
		};
	},
	'iterate 100k': (database) => scans(() => {
		let count = 0;
		for (const row of database.prepare(ALL).iterate()) count += row.blob.length === 16 ? 1 : 0;
		return count;
	}),
	'all 100k': (database) => scans(() => database.prepare(ALL).all().length),
	'raw 100k': (database) => scans(() => asArrays(database.prepare(ALL)).all().length),
};

function inserts(database, count) {
	const statement = database.prepare(INSERT);
	const rows = Array.from({ length: count }, (_, index) =>
		[index + 1, index * 7, index + 0.25, `text ${index}`.padEnd(16, '.'), Buffer.alloc(16, index)]);
	return () => {
		for (const [key, number, real, text, blob] of rows) statement.run(key, number, real, text, blob);
	};
}

/** Has the writes to the table recorded. */
function sync(database) {
	database.kith.init({ name: 'bench' });
	database.kith.sync('entries');
}

function scans(scan) {
	return () => {
		for (let index = 0; index < SCANS; index += 1) expect(scan() === ROWS);
	};
}

function asArrays(statement) {
	if (typeof statement.raw === 'function') return statement.raw();
	statement.setReturnArrays(true);
	return statement;
}

function expect(isTrue) {
	if (!isTrue) throw new Error('the work came to something else than it should');
}

const [face, location, work, file] = process.argv.slice(2);
const database = faces[face](location, file);
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
const run = works[work](database);
const before = process.cpuUsage();
run();
const { user, system } = process.cpuUsage(before);
database.close();
console.log((user + system) / 1000);
