'use strict';
// What SQLite refuses: an Error with SQLite's message and the name of its extended result code.

function SqliteError(message, code) {
	if (new.target === undefined) return new SqliteError(message, code);
	if (typeof code !== 'string') throw new TypeError('Expected second argument to be a string');
	const error = Reflect.construct(Error, [], new.target);
	Object.defineProperty(error, 'message', { value: `${message}`, enumerable: false, writable: true, configurable: true });
	Error.captureStackTrace?.(error, new.target);
	error.code = code;
	return error;
}
Object.setPrototypeOf(SqliteError, Error);
SqliteError.prototype = Object.create(Error.prototype, {
	constructor: { value: SqliteError, writable: true, enumerable: false, configurable: true },
	name: { value: 'SqliteError', writable: true, enumerable: false, configurable: true },
});

module.exports = SqliteError;
