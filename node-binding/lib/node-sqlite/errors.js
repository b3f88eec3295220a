'use strict';
// Errors as Node makes them: a class, a code and a message.

function coded(Class, code, message) {
	const error = new Class(message);
	error.code = code;
	// They begin where the program called.
	Error.captureStackTrace?.(error, coded);
	return error;
}

module.exports = {
	invalidType: (message) => coded(TypeError, 'ERR_INVALID_ARG_TYPE', message),
	invalidValue: (message) => coded(TypeError, 'ERR_INVALID_ARG_VALUE', message),
	invalidState: (message) => coded(Error, 'ERR_INVALID_STATE', message),
	outOfRange: (message) => coded(RangeError, 'ERR_OUT_OF_RANGE', message),
	sqliteError: (message, errcode, errstr) => Object.assign(coded(Error, 'ERR_SQLITE_ERROR', message), { errcode, errstr }),
	invalidUrlScheme: () => coded(TypeError, 'ERR_INVALID_URL_SCHEME', 'The URL must be of scheme file:'),
	illegalConstructor: () => coded(Error, 'ERR_ILLEGAL_CONSTRUCTOR', 'Illegal constructor'),
	newIsMissing: () => coded(TypeError, 'ERR_CONSTRUCT_CALL_REQUIRED', 'Cannot call constructor without `new`'),
};
