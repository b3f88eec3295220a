'use strict';
// Runs one program: `node start.js NAME FILE plain|synced`. What it prints is what is compared between drivers.
//
// A program gets `file`, the database's; `say(what, value)`, which prints; `fails(what, action)`, which prints the error that an
// action must end with; `sync(db)`, to be called with the driver's connection when its migrations are done: in a synced run every
// table that is there is synced from then on; and `found(db)`, for mappers that keep prepared statements: founding a workspace closes
// those, so that it must come first. `foundFile()` and `syncBySql(ask)` do the same where the driver is sqlite3.

const assert = require('assert/strict');
const { inspect } = require('util');

const [name, file, mode] = process.argv.slice(2);

const show = (value) => inspect(value, { depth: 12, breakLength: 140, maxArrayLength: 1000, maxStringLength: 2000 });
const say = (what, value) => console.log(`${what}: ${show(value)}`);

/** Tells what a mapper's error and those it wraps are: class, code and message. */
function told(error) {
	const { name, code, message } = error;
	const wrapped = error.driverError ?? error.nativeError ?? error.previous ?? error.cause;
	const one = { class: error.constructor.name, name, code, message };
	return wrapped === undefined || wrapped === error ? one : { ...one, wrapped: told(wrapped) };
}

async function fails(what, action) {
	let result;
	try {
		result = await action();
	} catch (error) {
		say(what, told(error));
		return;
	}
	assert.fail(`${what}: expected an error, got ${show(result)}`);
}

function found(db) {
	if (mode === 'synced' && !db.kith.isReplica) db.kith.init({ name: 'laptop' });
}

function checkReport({ synced, already, skipped }) {
	// Migration tools' own tables stay on the device, and a view follows its tables; everything else must be fit.
	for (const { table, reason } of skipped) assert.match(reason, /migration tool|is a view/, `${table} is not synced`);
	// Those that were made after the first time are taken in by themselves.
	assert.notEqual(synced.length + already.length, 0);
}

function sync(db) {
	if (mode !== 'synced') return;
	found(db);
	checkReport(db.kith.sync('*'));
}

/** The same where there are callbacks only: founds the workspace in the file, before it is opened. */
function foundFile() {
	if (mode !== 'synced') return;
	const db = new (require('better-sqlite3'))(file);
	found(db);
	db.close();
}

/** The same by SQL: `ask` runs a query and resolves to its one value. */
async function syncBySql(ask) {
	if (mode === 'synced') checkReport(JSON.parse(await ask("SELECT kith_sync('*') AS value")));
}

async function main() {
	assert.ok(mode === 'plain' || mode === 'synced', `unknown mode ${mode}`);
	await require(`./${name}.js`)({ file, say, fails, found, sync, foundFile, syncBySql });
}

main().catch((error) => {
	console.error(error);
	// A pool of connections would keep the process.
	process.exit(1);
});
