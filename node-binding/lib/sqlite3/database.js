'use strict';
// The class `Database`.

const EventEmitter = require('events');
const { SCHEDULE, Schedule, ACTIONS, USES, DONE, FAILED } = require('./schedule');
const { OPEN, CODES, makeError } = require('./constants');
const { Statement, useOnce, collectMap, checkCallback } = require('./statement');
const Backup = require('./backup');

const WATCHED = ['trace', 'profile', 'change'];

/** Tells of a job of the database itself: by the callback, or as an event. */
class Report {
	#callback;
	#onDone;
	#onFailed;

	constructor(callback, onDone, onFailed) {
		this.#callback = callback;
		this.#onDone = onDone;
		this.#onFailed = onFailed;
	}

	settle(database, kind, [errno, message]) {
		const schedule = database[SCHEDULE];
		const callback = this.#callback;
		if (kind === DONE) {
			const after = this.#onDone?.();
			if (callback) schedule.guard(() => callback.call(database, null));
			if (after) database.emit(after);
		} else if (kind === FAILED) {
			this.#onFailed?.();
			const error = makeError(errno, message);
			if (callback) callback.call(database, error);
			else database.emit('error', error);
		}
	}
}

class Database extends EventEmitter {
	/** Which events were asked for by `configure`, and which the thread was last asked for. */
	#configured = { trace: false, profile: false, change: false };
	#watched = '';

	constructor(filename, ...given) {
		if (typeof filename !== 'string') throw new TypeError('String expected');
		super();
		const isMode = typeof given[0] === 'number' && (given[0] | 0) === given[0];
		const mode = isMode ? given.shift() : OPEN.OPEN_READWRITE | OPEN.OPEN_CREATE | OPEN.OPEN_FULLMUTEX;
		const callback = typeof given[0] === 'function' ? given[0] : undefined;
		Object.defineProperty(this, 'filename', { value: filename });
		Object.defineProperty(this, 'mode', { value: mode });
		const schedule = new Schedule(this);
		Object.defineProperty(this, SCHEDULE, { value: schedule });
		const onDone = () => {
			schedule.isOpen = true;
			return 'open';
		};
		schedule.send(ACTIONS.open, this, new Report(callback, onDone), filename, mode);
	}

	get open() {
		return this[SCHEDULE].isOpen;
	}

	close(callback) {
		checkCallback(callback, 0);
		const schedule = this[SCHEDULE];
		const onDone = () => {
			schedule.isClosing = false;
			schedule.isOpen = false;
			schedule.end();
			return 'close';
		};
		const onFailed = () => {
			schedule.isClosing = false;
		};
		schedule.begin(true, callback, () => {
			schedule.isClosing = true;
			schedule.send(ACTIONS.close, this, new Report(callback, onDone, onFailed));
		});
		return this;
	}

	exec(sql, callback) {
		if (typeof sql !== 'string') throw new TypeError('Argument 0 must be a string');
		checkCallback(callback, 1);
		this.#begin(true, callback, ACTIONS.exec, sql);
		return this;
	}

	loadExtension(filename, callback) {
		if (typeof filename !== 'string') throw new TypeError('Argument 0 must be a string');
		checkCallback(callback, 1);
		this.#begin(true, callback, ACTIONS.loadExtension, filename);
		return this;
	}

	wait(callback) {
		checkCallback(callback, 0);
		this.#begin(true, callback, ACTIONS.wait);
		return this;
	}

	prepare(sql, ...given) {
		const callback = given[given.length - 1];
		const refused = typeof callback === 'function' ? (error) => error && callback.call(undefined, error) : undefined;
		const statement = new Statement(this, sql, refused);
		return given.length > 0 ? statement.bind(...given) : statement;
	}

	run(sql, ...given) {
		return useOnce(USES.run, this, sql, given);
	}

	get(sql, ...given) {
		return useOnce(USES.get, this, sql, given);
	}

	all(sql, ...given) {
		return useOnce(USES.all, this, sql, given);
	}

	each(sql, ...given) {
		return useOnce(USES.each, this, sql, given);
	}

	map(sql, ...given) {
		given.push(collectMap(given.pop()));
		return useOnce(USES.all, this, sql, given);
	}

	serialize(callback) {
		return this.#withSerialized(true, callback);
	}

	parallelize(callback) {
		return this.#withSerialized(false, callback);
	}

	configure(option, value, ...rest) {
		if (arguments.length < 2) throw new TypeError('Expected 2arguments');
		if (option === 'busyTimeout') {
			if (typeof value !== 'number') throw new TypeError('Value must be an integer');
			this.#begin(false, undefined, ACTIONS.busyTimeout, value);
		} else if (option === 'limit') {
			if (rest.length === 0) throw new TypeError('Expected 3arguments');
			if (typeof value !== 'number') throw new TypeError('limit id must be an integer');
			if (typeof rest[0] !== 'number') throw new TypeError('limit value must be an integer');
			this.#begin(false, undefined, ACTIONS.limit, value, rest[0]);
		} else if (WATCHED.includes(option)) {
			this.#configured[option] = Boolean(value);
			this.#watch();
		} else {
			throw new TypeError(`${option} is not a valid configuration option`);
		}
		return this;
	}

	interrupt() {
		const schedule = this[SCHEDULE];
		if (!schedule.isOpen) throw new Error('Database is not open');
		if (schedule.isClosing) throw new Error('Database is closing');
		schedule.interrupt();
		return this;
	}

	/** `backup(filename, callback)`, or the names of both databases and which of them is the file's. */
	backup(filename, ...given) {
		const [source, destination, isFileDestination, callback] = given.length <= 1 ? ['main', 'main', true, given[0]] : given;
		const backup = new Backup(this, filename, source, destination, isFileDestination, callback);
		backup.retryErrors = [CODES.BUSY, CODES.LOCKED];
		return backup;
	}

	on(type, listener) {
		super.on(type, listener);
		if (WATCHED.includes(type)) this.#watch();
		return this;
	}

	addListener(type, listener) {
		return this.on(type, listener);
	}

	removeListener(type, listener) {
		super.removeListener(type, listener);
		if (WATCHED.includes(type)) this.#watch();
		return this;
	}

	off(type, listener) {
		return this.removeListener(type, listener);
	}

	removeAllListeners(...types) {
		super.removeAllListeners(...types);
		this.#watch();
		return this;
	}

	#begin(isExclusive, callback, action, ...rest) {
		const schedule = this[SCHEDULE];
		schedule.begin(isExclusive, callback, () => schedule.send(action, this, callback, ...rest));
	}

	#withSerialized(isSerialized, callback) {
		checkCallback(callback, 0);
		const schedule = this[SCHEDULE];
		const before = schedule.isSerialized;
		schedule.isSerialized = isSerialized;
		if (callback !== undefined) {
			try {
				callback.call(this);
			} finally {
				schedule.isSerialized = before;
			}
		}
		schedule.proceed();
		return this;
	}

	/** Has the thread tell of what is listened to, or was asked for, and of nothing else. */
	#watch() {
		const wanted = WATCHED.map((type) => this.#configured[type] || this.listenerCount(type) > 0);
		if (`${wanted}` === this.#watched || this[SCHEDULE].isClosed) return;
		this.#watched = `${wanted}`;
		this.#begin(false, undefined, ACTIONS.watch, ...wanted);
	}
}

module.exports = Database;
