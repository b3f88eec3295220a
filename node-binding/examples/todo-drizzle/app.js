'use strict';
// A list of todos on Drizzle: node app.js FILE add TITLE | done TITLE | list | clear | device

const { randomUUID } = require('crypto');
const path = require('path');
const Database = require('better-sqlite3');
const { asc, eq } = require('drizzle-orm');
const { drizzle } = require('drizzle-orm/better-sqlite3');
const { migrate } = require('drizzle-orm/better-sqlite3/migrator');
const { integer, sqliteTable, text } = require('drizzle-orm/sqlite-core');

const [file, command, ...words] = process.argv.slice(2);
const title = words.join(' ');

const todos = sqliteTable('todos', {
	// Devices make ids apart from each other: UUIDs never collide.
	id: text('id').primaryKey().$defaultFn(randomUUID),
	title: text('title').notNull().unique(),
	done: integer('done', { mode: 'boolean' }).notNull().default(false),
});

const commands = {
	add(db) {
		const added = db.insert(todos).values({ title }).onConflictDoNothing().run();
		return added.changes ? `added: ${title}` : `already there: ${title}`;
	},
	done(db) {
		const updated = db.update(todos).set({ done: true }).where(eq(todos.title, title)).run();
		return updated.changes ? `done: ${title}` : `no such todo: ${title}`;
	},
	list(db) {
		const all = db.select().from(todos).orderBy(asc(todos.title)).all();
		return all.map(({ title, done }) => `[${done ? 'x' : ' '}] ${title}`).join('\n') || 'nothing to do';
	},
	clear(db) {
		return `cleared ${db.transaction((tx) => tx.delete(todos).where(eq(todos.done, true)).run().changes)}`;
	},
	device(db, { members, tables }) {
		const { device } = members.find((member) => member.is_this_device);
		return `this device: ${device}; synced: ${tables.filter(({ state }) => state === 'synced').map(({ name }) => name).join(', ')}`;
	},
};

if (file && Object.hasOwn(commands, command)) {
	const client = new Database(file);
	const db = drizzle(client);
	migrate(db, { migrationsFolder: path.join(__dirname, 'migrations') });
	// From here on other devices get what is written: the only lines that better-sqlite3 does not know.
	if (!client.kith.isReplica) client.kith.init({ name: 'my-laptop' });
	client.kith.sync('*');
	console.log(commands[command](db, client.kith.status()));
	client.close();
} else {
	console.error(`usage: node app.js FILE ${Object.keys(commands).join('|')} [TITLE]`);
	process.exitCode = 2;
}
