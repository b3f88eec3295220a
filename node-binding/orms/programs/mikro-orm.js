'use strict';
// A garden on MikroORM: entities by schema, migrations as a list.

const { EntitySchema, MikroORM, UniqueConstraintViolationException, NotNullConstraintViolationException, ForeignKeyConstraintViolationException, CheckConstraintViolationException, raw } = require('@mikro-orm/sqlite');
const { Migration, Migrator } = require('@mikro-orm/migrations');

class Bed {}
class Plant {}
class Label {}
const bedSchema = new EntitySchema({
	class: Bed,
	properties: {
		id: { type: 'integer', primary: true, autoincrement: true },
		name: { type: 'string', unique: true },
		sunny: { type: 'boolean', default: true },
		soil: { type: 'json', nullable: true },
		plants: { kind: '1:m', entity: () => Plant, mappedBy: 'bed' },
	},
});
const plantSchema = new EntitySchema({
	class: Plant,
	properties: {
		id: { type: 'string', primary: true },
		species: { type: 'string' },
		height: { type: 'float', nullable: true },
		sownAt: { type: 'datetime', nullable: true },
		photo: { type: 'blob', nullable: true },
		bed: { kind: 'm:1', entity: () => Bed, deleteRule: 'cascade', nullable: true },
		labels: { kind: 'm:n', entity: () => Label },
	},
});
const labelSchema = new EntitySchema({
	class: Label,
	properties: { id: { type: 'integer', primary: true, autoincrement: true }, text: { type: 'string', unique: true } },
});

class Beds extends Migration {
	up() {
		this.addSql('create table `bed` (`id` integer not null primary key autoincrement, `name` text not null, `sunny` integer not null default true, `soil` json null);');
		this.addSql('create unique index `bed_name_unique` on `bed` (`name`);');
	}
	down() {
		this.addSql('drop table `bed`;');
	}
}
class Plants extends Migration {
	up() {
		this.addSql('create table `plant` (`id` text not null primary key, `species` text not null, `height` real null check (height > 0), `sown_at` datetime null, '
			+ '`bed_id` integer null, constraint `plant_bed_id_foreign` foreign key (`bed_id`) references `bed` (`id`) on delete cascade);');
		this.addSql('alter table `plant` add column `photo` blob null;');
		this.addSql('create table `label` (`id` integer not null primary key autoincrement, `text` text not null);');
		this.addSql('create unique index `label_text_unique` on `label` (`text`);');
		this.addSql('create table `plant_labels` (`plant_id` text not null, `label_id` integer not null, primary key (`plant_id`, `label_id`), '
			+ 'constraint `plant_labels_plant_id_foreign` foreign key (`plant_id`) references `plant` (`id`) on delete cascade on update cascade, '
			+ 'constraint `plant_labels_label_id_foreign` foreign key (`label_id`) references `label` (`id`) on delete cascade on update cascade);');
	}
	down() {
		for (const table of ['plant_labels', 'label', 'plant']) this.addSql(`drop table \`${table}\`;`);
	}
}
class Harvests extends Migration {
	up() {
		this.addSql('create table `harvest` (`id` text not null primary key, `grams` integer not null);');
	}
}

module.exports = async function ({ file, say, fails, sync }) {
	const open = (list) => MikroORM.init({
		dbName: file,
		entities: [bedSchema, plantSchema, labelSchema],
		extensions: [Migrator],
		migrations: { migrationsList: list.map((migration) => ({ name: migration.name, class: migration })), snapshot: false },
		// A replica's file has tables of its own beside the application's.
		schemaGenerator: { skipTables: [/^kith_/] },
		allowGlobalContext: true,
	});
	const names = (list) => list.map(({ name }) => name);
	let orm = await open([Beds, Plants]);
	say('migrated', names(await orm.migrator.up()));
	say('down', names(await orm.migrator.down()));
	say('pending', names(await orm.migrator.getPending()));
	say('up', names(await orm.migrator.up()));
	sync(await orm.em.getConnection().getNativeClient());
	const fresh = () => orm.em.fork();
	const plain = (entities) => JSON.parse(JSON.stringify(entities));

	let em = fresh();
	const south = em.create(Bed, { name: 'south', soil: { ph: 6.5, kinds: ['loam'] } });
	em.create(Bed, { name: 'north', sunny: false });
	const label = em.create(Label, { text: 'tasty' });
	for (let i = 0; i < 40; i += 1) {
		const plant = em.create(Plant, {
			id: `p${10 + i}`, species: i % 2 ? 'bean' : 'pea', height: i % 3 ? i / 4 : null, sownAt: new Date(Date.UTC(2026, 2, 1 + i)),
			photo: i % 20 ? undefined : Buffer.from([i, 0, 255]), bed: i % 5 ? south : undefined,
		});
		if (i % 8 === 0) plant.labels.add(label);
	}
	await em.flush();
	say('flushed', [south.id, south.sunny, label.id]);
	em = fresh();
	say('found', plain(await em.find(Plant, { height: { $gt: 9 } }, { populate: ['bed', 'labels'], orderBy: { id: 'asc' } })));
	say('photo', (await em.findOneOrFail(Plant, 'p30')).photo);
	say('counted', [await em.count(Plant, { species: 'pea' }), await em.findAndCount(Plant, { bed: null }, { limit: 1, orderBy: { id: 1 } }).then(([list, n]) => [plain(list), n])]);
	say('built', await em.createQueryBuilder(Plant, 'p').select(['p.species', raw('count(*) as n'), raw('avg(p.height) as mean')]).groupBy('p.species').orderBy({ species: 'asc' }).execute());
	const bed = await em.findOneOrFail(Bed, { name: 'south' }, { populate: ['plants'] });
	say('collection', bed.plants.length);
	bed.soil = { ph: 7 };
	bed.plants[0].species = 'leek';
	em.remove(bed.plants[1]);
	await em.flush();
	say('changed', plain(await fresh().find(Bed, {}, { orderBy: { id: 1 } })));
	say('native', [await em.nativeUpdate(Plant, { species: 'pea' }, { height: 1 }), await em.nativeDelete(Plant, { height: { $gte: 9.5 } }), await em.insert(Label, { text: 'new' })]);
	say('upserted', plain([await fresh().upsert(Bed, { name: 'north', sunny: true }), await fresh().upsertMany(Label, [{ text: 'tasty' }, { text: 'late' }])]));
	say('query builder upsert', await em.createQueryBuilder(Label).insert({ text: 'late' }).onConflict('text').merge({ text: 'later' }).execute());

	await fresh().transactional(async (outer) => {
		outer.create(Bed, { name: 'west' });
		await outer.flush();
		await fails('nested', () => outer.transactional(async (inner) => {
			await inner.nativeDelete(Plant, {});
			await inner.insert(Bed, { name: 'west' });
		}));
		say('inside', await outer.count(Plant));
	});
	await fails('rolled back', () => fresh().transactional(async (inner) => {
		await inner.nativeDelete(Bed, { name: 'south' });
		say('cascaded', await inner.count(Plant));
		throw new Error('undone');
	}));
	em = fresh();
	await em.begin();
	await em.insert(Bed, { name: 'east' });
	await em.rollback();
	say('after transactions', [names(await fresh().find(Bed, {}, { orderBy: { id: 1 } })), await fresh().count(Plant)]);

	const kinds = { UniqueConstraintViolationException, NotNullConstraintViolationException, ForeignKeyConstraintViolationException, CheckConstraintViolationException };
	const recognised = (error) => Object.keys(kinds).filter((kind) => error instanceof kinds[kind]);
	await fails('unique', () => fresh().insert(Bed, { name: 'south' }));
	say('recognised', await fresh().insert(Bed, { name: 'south' }).catch(recognised));
	await fails('primary key', () => fresh().insert(Plant, { id: 'p20', species: 'pea' }));
	await fails('not null', () => fresh().insert(Plant, { id: 'new' }));
	await fails('foreign key', () => fresh().insert(Plant, { id: 'new', species: 'pea', bed: 99 }));
	await fails('check', () => fresh().insert(Plant, { id: 'new', species: 'pea', height: -1 }));
	await fails('no table', () => fresh().execute('select * from nothing'));

	const streamed = [];
	for await (const { id } of fresh().stream(Plant, { where: { species: 'bean' }, orderBy: { id: 1 } })) streamed.push(id);
	say('streamed', streamed);
	say('raw', await fresh().execute('select id, height from plant where height > ? order by id limit 2', [5]));
	// The schema that the entities ask for is compared with the one that is there.
	say('to be changed', (await orm.schema.getUpdateSchemaSQL({ safe: true })).split('\n'));
	await orm.close();

	orm = await open([Beds, Plants, Harvests]);
	say('migrated later', names(await orm.migrator.up()));
	sync(await orm.em.getConnection().getNativeClient());
	say('harvest', await orm.em.execute('insert into harvest values (?, ?) returning *', ['first', 250]));
	await orm.close();
};
