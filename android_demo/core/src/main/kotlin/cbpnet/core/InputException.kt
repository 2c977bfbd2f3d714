package cbpnet.core

/**
 * What a person gave cannot be used.
 *
 * The message is one or two sentences for that person: what is wrong, and what would be right.
 */
public open class InputException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The file system refused to write, mostly for lack of room; what was on it before is as it was. */
public class StorageException(message: String, cause: Throwable? = null) : InputException(message, cause)
