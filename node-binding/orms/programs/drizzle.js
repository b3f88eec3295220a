'use strict';
// Users, posts and groups on Drizzle.

const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const Database = require('better-sqlite3');
const { and, count, desc, eq, gt, inArray, isNull, like, relations, sql, avg } = require('drizzle-orm');
const { drizzle } = require('drizzle-orm/better-sqlite3');
const { migrate } = require('drizzle-orm/better-sqlite3/migrator');
const { blob, index, integer, primaryKey, real, sqliteTable, text } = require('drizzle-orm/sqlite-core');

const users = sqliteTable('users', {
	id: integer('id').primaryKey({ autoIncrement: true }),
	email: text('email').notNull().unique(),
	name: text('name').notNull(),
	admin: integer('admin', { mode: 'boolean' }).notNull().default(false),
	bornAt: integer('born_at', { mode: 'timestamp' }),
	settings: text('settings', { mode: 'json' }),
	points: blob('points', { mode: 'bigint' }),
});
const posts = sqliteTable('posts', {
	id: text('id').primaryKey(),
	userId: integer('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
	title: text('title').notNull(),
	score: real('score'),
	image: blob('image', { mode: 'buffer' }),
}, (table) => [index('posts_by_score').on(table.score)]);
const marks = sqliteTable('marks', {
	userId: integer('user_id').notNull().references(() => users.id),
	postId: text('post_id').notNull().references(() => posts.id, { onDelete: 'cascade' }),
	kind: text('kind', { enum: ['like', 'star'] }).notNull(),
}, (table) => [primaryKey({ columns: [table.userId, table.postId] })]);
const invitations = sqliteTable('invitations', { code: text('code').primaryKey(), userId: integer('user_id').references(() => users.id) });
const schema = {
	users, posts, marks, invitations,
	usersRelations: relations(users, ({ many }) => ({ posts: many(posts) })),
	postsRelations: relations(posts, ({ one, many }) => ({ author: one(users, { fields: [posts.userId], references: [users.id] }), marks: many(marks) })),
	marksRelations: relations(marks, ({ one }) => ({ post: one(posts, { fields: [marks.postId], references: [posts.id] }) })),
};

const first = [
	`CREATE TABLE \`users\` (
	\`id\` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	\`email\` text NOT NULL,
	\`name\` text NOT NULL,
	\`admin\` integer DEFAULT false NOT NULL,
	\`born_at\` integer,
	\`settings\` text,
	\`points\` blob
);`,
	'CREATE UNIQUE INDEX `users_email_unique` ON `users` (`email`);',
	`CREATE TABLE \`posts\` (
	\`id\` text PRIMARY KEY NOT NULL,
	\`user_id\` integer NOT NULL,
	\`title\` text NOT NULL,
	\`score\` real,
	FOREIGN KEY (\`user_id\`) REFERENCES \`users\`(\`id\`) ON UPDATE no action ON DELETE cascade
);`,
	'CREATE INDEX `posts_by_score` ON `posts` (`score`);',
];
const second = [
	'ALTER TABLE `posts` ADD `image` blob;',
	`CREATE TABLE \`marks\` (
	\`user_id\` integer NOT NULL,
	\`post_id\` text NOT NULL,
	\`kind\` text NOT NULL,
	PRIMARY KEY(\`user_id\`, \`post_id\`),
	FOREIGN KEY (\`user_id\`) REFERENCES \`users\`(\`id\`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (\`post_id\`) REFERENCES \`posts\`(\`id\`) ON UPDATE no action ON DELETE cascade
);`,
];
const third = [
	`CREATE TABLE \`invitations\` (
	\`code\` text PRIMARY KEY NOT NULL,
	\`user_id\` integer,
	FOREIGN KEY (\`user_id\`) REFERENCES \`users\`(\`id\`) ON UPDATE no action ON DELETE no action
);`,
];

/** Writes migrations as drizzle-kit does. */
function writeMigrations(folder, list) {
	fs.mkdirSync(path.join(folder, 'meta'), { recursive: true });
	const entries = list.map((statements, idx) => {
		const tag = `000${idx}_step`;
		fs.writeFileSync(path.join(folder, `${tag}.sql`), statements.join('\n--> statement-breakpoint\n'));
		return { idx, version: '6', when: 1760000000000 + idx, tag, breakpoints: true };
	});
	fs.writeFileSync(path.join(folder, 'meta', '_journal.json'), JSON.stringify({ version: '7', dialect: 'sqlite', entries }));
}

module.exports = async function ({ file, say, fails, sync }) {
	const client = new Database(file);
	client.pragma('foreign_keys = ON');
	const db = drizzle(client, { schema });
	const migrationsFolder = `${file}-migrations`;
	writeMigrations(migrationsFolder, [first]);
	migrate(db, { migrationsFolder });
	writeMigrations(migrationsFolder, [first, second]);
	migrate(db, { migrationsFolder });
	say('migrated', client.prepare('SELECT id, hash, created_at FROM __drizzle_migrations').all());
	sync(client);

	say('inserted', db.insert(users).values({ email: 'ada@x.org', name: 'Ada', admin: true, bornAt: new Date(Date.UTC(1995, 11, 10)), settings: { theme: 'dark' }, points: 9007199254740993n }).run());
	say('returned', db.insert(users).values([{ email: 'bob@x.org', name: 'Bob' }, { email: 'cy@x.org', name: 'Cy' }]).returning().all());
	say('awaited', await db.insert(posts).values(Array.from({ length: 90 }, (_, i) => ({
		id: `p${100 + i}`, userId: 1 + (i % 3), title: `Title ${i}`, score: i % 4 ? i / 8 : null, image: i % 30 ? null : Buffer.from([i, 0, 255]),
	}))));
	say('marked', db.insert(marks).select(db.select({ userId: sql`2`.as('user_id'), postId: posts.id, kind: sql`'star'`.as('kind') }).from(posts).where(gt(posts.score, 10))).run());
	say('selected', db.select().from(users).where(eq(users.email, 'ada@x.org')).get());
	say('nothing', db.select().from(users).where(eq(users.id, 99)).get());
	say('joined', db.select().from(posts).innerJoin(users, eq(users.id, posts.userId)).leftJoin(marks, eq(marks.postId, posts.id)).where(and(like(posts.title, '%8%'), gt(posts.score, 9))).orderBy(desc(posts.id)).all());
	say('grouped', db.select({ name: users.name, n: count(), mean: avg(posts.score) }).from(posts).innerJoin(users, eq(users.id, posts.userId)).groupBy(users.id).having(({ n }) => gt(n, 1)).all());
	say('values', db.select({ id: posts.id, score: posts.score }).from(posts).where(inArray(posts.id, ['p100', 'p101'])).values());
	const ranked = db.$with('ranked').as(db.select({ id: posts.id, r: sql`row_number() OVER (ORDER BY ${posts.score} DESC)`.as('r') }).from(posts));
	say('with', db.with(ranked).select().from(ranked).limit(3).all());
	await fails('JSON of a blob', () => db.query.users.findMany({ with: { posts: true } }));
	const byTitle = db.select().from(posts).where(eq(posts.title, sql.placeholder('title'))).prepare();
	say('prepared', [byTitle.get({ title: 'Title 5' }), byTitle.all({ title: 'Title 6' })]);
	say('related', await db.query.users.findMany({ columns: { name: true }, with: { posts: { columns: { image: false }, limit: 2, orderBy: (post) => post.id, with: { marks: true } } } }));
	say('related first', await db.query.posts.findFirst({ where: eq(posts.id, 'p189'), with: { author: { columns: { points: false } }, marks: true } }));
	say('updated', db.update(posts).set({ score: 0 }).where(isNull(posts.score)).run());
	say('updated from', db.update(posts).set({ title: sql`${posts.title} || ' by ' || ${users.name}` }).from(users).where(and(eq(users.id, posts.userId), eq(posts.id, 'p100'))).returning({ title: posts.title }).all());
	say('deleted', db.delete(posts).where(gt(posts.score, 10.5)).returning({ id: posts.id }).all());
	say('cascaded', await db.$count(marks));

	const upsert = (name) => db.insert(users).values({ email: 'dee@x.org', name }).onConflictDoUpdate({ target: users.email, set: { name: sql`excluded.name` } }).returning({ id: users.id, name: users.name }).get();
	say('upserted', [upsert('Dee'), upsert('Deirdre')]);
	say('ignored', db.insert(users).values({ email: 'dee@x.org', name: 'D' }).onConflictDoNothing().run());

	db.transaction((tx) => {
		tx.insert(users).values({ email: 'eve@x.org', name: 'Eve' }).run();
		try {
			tx.transaction((inner) => {
				inner.delete(marks).run();
				inner.insert(users).values({ email: 'fay@x.org', name: 'Fay' }).run();
				inner.rollback();
			});
		} catch (error) {
			say('nested', [error.constructor.name, error.message]);
		}
		tx.transaction((inner) => inner.update(users).set({ name: 'Evelyn' }).where(eq(users.email, 'eve@x.org')).run(), { behavior: 'immediate' });
	});
	await fails('rolled back', () => db.transaction((tx) => {
		tx.delete(marks).run();
		tx.insert(users).values({ email: 'ada@x.org', name: 'A' }).run();
	}, { behavior: 'exclusive' }));
	await fails('promise in a transaction', () => db.transaction(async (tx) => tx.delete(marks).run()));
	say('after transactions', [db.select({ id: users.id, name: users.name }).from(users).all(), await db.$count(marks)]);

	await fails('unique', () => db.insert(users).values({ email: 'ada@x.org', name: 'A' }).run());
	await fails('unique, awaited', () => db.insert(users).values({ email: 'ada@x.org', name: 'A' }));
	await fails('primary key', () => db.insert(marks).select(db.select().from(marks)).run());
	await fails('not null', () => db.run(sql`INSERT INTO users(email) VALUES ('x')`));
	await fails('foreign key', () => db.insert(posts).values({ id: 'new', userId: 99, title: 'T' }).run());
	await fails('no table', () => db.get(sql`SELECT * FROM nothing`));

	say('raw', [db.all(sql`SELECT id, title FROM ${posts} WHERE id < ${'p103'} ORDER BY id`), db.get(sql`SELECT 1 AS one`), db.values(sql`SELECT 1, 'two'`)]);
	const query = db.select({ id: posts.id }).from(posts).where(gt(posts.score, 10)).orderBy(posts.id).toSQL();
	say('iterated', [...db.$client.prepare(query.sql).pluck().iterate(...query.params)]);

	writeMigrations(migrationsFolder, [first, second, third]);
	migrate(db, { migrationsFolder });
	sync(client);
	say('invited', db.insert(invitations).values({ code: 'hello', userId: 1 }).returning().get());
	client.close();

	// drizzle-kit reads the schema through the same driver.
	const out = `${file}-pulled`;
	const kit = spawnSync(process.execPath, [path.join(path.dirname(require.resolve('drizzle-kit')), 'bin.cjs'), 'pull',
		'--dialect=sqlite', `--url=${file}`, `--out=${out}`, '--tablesFilter=!kith_*'], { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } });
	if (kit.status !== 0) throw new Error(`${kit.stdout}${kit.stderr}`);
	say('pulled', fs.readFileSync(path.join(out, 'schema.ts'), 'utf8'));
};
