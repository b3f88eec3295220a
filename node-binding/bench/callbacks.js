'use strict';
// As `work.js`, for packages whose methods call back: `node callbacks.js FACE PACKAGE WORK FILE`.

const ROWS = 100_000;
const GETS = 50_000;

const CREATE = 'CREATE TABLE entries(key INTEGER PRIMARY KEY, number INTEGER, real REAL, text TEXT, blob BLOB)';

/** Each answers a promise for what is measured, which answers one for its end. */
const works = {
	async 'insert in a transaction'(database) {
		await call(database, 'exec', CREATE);
		const statement = database.prepare('INSERT INTO entries VALUES(?, ?, ?, ?, ?)');
		const rows = Array.from({ length: ROWS }, (_, index) =>
			[index + 1, index * 7, index + 0.25, `text ${index}`.padEnd(16, '.'), Buffer.alloc(16, index)]);
		return async () => {
			await call(database, 'exec', 'BEGIN');
			let left = ROWS;
			await new Promise((resolve, reject) => {
				for (const row of rows) {
					statement.run(row, (error) => {
						if (error) reject(error);
						left -= 1;
						if (left === 0) resolve();
					});
				}
			});
			await call(database, 'exec', 'COMMIT');
			await call(statement, 'finalize');
		};
	},

	async get(database) {
		const statement = database.prepare('SELECT * FROM entries WHERE key = ?');
		return async () => {
			let sum = 0;
			for (let index = 0; index < GETS; index += 1) sum += (await call(statement, 'get', (index * 7919) % ROWS + 1)).number;
			if (sum <= GETS) throw new Error('the work came to something else than it should');
			await call(statement, 'finalize');
		};
	},
};

function call(object, method, ...given) {
	return new Promise((resolve, reject) => {
		object[method](...given, (error, value) => (error ? reject(error) : resolve(value)));
	});
}

async function main(location, work, file) {
	const { Database } = require(location);
	const database = await new Promise((resolve, reject) => {
		const opened = new Database(file, (error) => (error ? reject(error) : resolve(opened)));
	});
	await call(database, 'exec', 'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
	const run = await works[work](database);
	const before = process.cpuUsage();
	await run();
	const { user, system } = process.cpuUsage(before);
	await call(database, 'close');
	console.log((user + system) / 1000);
}

const [, location, work, file] = process.argv.slice(2);
main(location, work, file);
