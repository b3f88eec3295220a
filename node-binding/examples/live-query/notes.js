'use strict';
// Notes on two devices: what is typed on one shows on the other, by a live query. See README.md beside this file.

const { parseArgs } = require('util');
const readline = require('readline');
const Database = require('kithdb');

const { values, positionals } = parseArgs({
	allowPositionals: true,
	options: { name: { type: 'string' }, join: { type: 'string' }, local: { type: 'boolean' } },
});
const [file] = positionals;
if (file === undefined) {
	console.error('usage: node notes.js FILE [--name DEVICE] [--join TICKET] [--local]');
	process.exit(2);
}
// `--local` stays on this machine: nothing is announced on the network.
const network = values.local ? { listen: 'loopback', mdns: false } : {};

async function main() {
	const db = new Database(file);
	const name = values.name ?? require('os').hostname().slice(0, 16);
	if (!db.kith.isReplica && values.join) {
		await db.kith.join(values.join, { name, mdns: !values.local });
	} else if (!db.kith.isReplica) {
		db.kith.init({ name });
		db.exec('CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, written_at TEXT)');
		db.kith.sync('notes');
	}

	const peer = await db.kith.open(network);
	peer.on('connected', ({ device }) => console.log(`connected to ${device}`));
	peer.on('disconnected', ({ device }) => console.log(`disconnected from ${device}`));
	peer.on('delayed', ({ reason }) => console.error(`tried again soon: ${reason}`));

	// The table of a workspace that was joined arrives with the first sync.
	const hasNotes = "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table' AND name = 'notes'";
	const stopWaiting = db.kith.watch(hasNotes, ([{ n }]) => {
		if (n === 0) return;
		stopWaiting();
		db.kith.watch('SELECT body FROM notes ORDER BY written_at, id', (rows, error) => {
			if (error) console.error(error.message);
			else console.log(`notes: ${rows.map(({ body }) => body).join(' | ')}`);
		});
		listen(db, peer);
	});
}

/** Takes notes from standard input, one a line; `/invite` prints a ticket for another device, `/quit` ends. */
function listen(db, peer) {
	const insert = db.prepare("INSERT INTO notes VALUES(lower(hex(randomblob(8))), ?, strftime('%Y-%m-%d %H:%M:%f'))");
	const lines = readline.createInterface({ input: process.stdin });
	lines.on('line', (line) => {
		if (line === '/quit') lines.close();
		else if (line === '/invite') {
			db.kith.invite({ role: 'writer' }).then((ticket) => console.log(`ticket: ${ticket}`), (error) => console.error(error.message));
		} else if (line !== '') insert.run(line);
	});
	lines.on('close', async () => {
		process.stdin.destroy();
		await peer.close();
		db.close();
	});
}

main().catch((error) => {
	console.error(error.message);
	process.exitCode = 1;
});
