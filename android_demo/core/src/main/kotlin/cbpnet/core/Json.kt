package cbpnet.core

/** A value of a JSON text; [toString] writes it, in ASCII, as Python's `json.dumps` does. */
public sealed interface Json

/** An object, its entries in the order of the text. */
public data class JsonObject(public val entries: Map<String, Json>) : Json {
    public constructor(vararg entries: Pair<String, Json>) : this(mapOf(*entries))

    override fun toString(): String =
        entries.entries.joinToString(", ", "{", "}") { (key, value) -> "${quoted(key)}: $value" }
}

/** An array. */
public data class JsonArray(public val items: List<Json>) : Json {
    override fun toString(): String = items.joinToString(", ", "[", "]")
}

/** A string. */
public data class JsonText(public val value: String) : Json {
    override fun toString(): String = quoted(value)
}

/** A number, kept as it was written, so that it can be written again unchanged; equal by value. */
public class JsonNumber(public val literal: String) : Json {
    public constructor(value: Int) : this(value.toString())

    /** The value; Python's `Infinity`, `-Infinity` and `NaN` are numbers too. */
    public val value: Double = literal.toDouble()

    override fun equals(other: Any?): Boolean = other is JsonNumber && other.value == value

    override fun hashCode(): Int = value.hashCode()

    override fun toString(): String = literal
}

/** `true` or `false`. */
public data class JsonBoolean(public val value: Boolean) : Json {
    override fun toString(): String = value.toString()
}

/** `null`. */
public data object JsonNull : Json {
    override fun toString(): String = "null"
}

/** A text is no JSON, or an entry is missing or of another kind; the message says which. */
public class JsonException(message: String) : Exception(message)

/** The entry [key]. */
public operator fun JsonObject.get(key: String): Json =
    entries[key] ?: throw JsonException("the entry \"$key\" is missing")

/** The object under [key]. */
public fun JsonObject.child(key: String): JsonObject = expect(key, "an object", this[key] as? JsonObject)

/** The items of the array under [key]. */
public fun JsonObject.items(key: String): List<Json> = expect(key, "an array", this[key] as? JsonArray).items

/** The string under [key]. */
public fun JsonObject.text(key: String): String = expect(key, "a string", this[key] as? JsonText).value

/** The number under [key]. */
public fun JsonObject.number(key: String): Double = expect(key, "a number", this[key] as? JsonNumber).value

/** The integer under [key]. */
public fun JsonObject.integer(key: String): Int = expect(key, "an integer", integerOrNull(this[key]))

/** The integers of the array under [key]. */
public fun JsonObject.integers(key: String): List<Int> =
    items(key).map { expect(key, "an array of integers", integerOrNull(it)) }

/** The objects of the array under [key]. */
public fun JsonObject.children(key: String): List<JsonObject> =
    items(key).map { expect(key, "an array of objects", it as? JsonObject) }

/** The strings of the array under [key]. */
public fun JsonObject.texts(key: String): List<String> =
    items(key).map { expect(key, "an array of strings", it as? JsonText).value }

/** The numbers of the array under [key]. */
public fun JsonObject.numbers(key: String): List<Double> =
    items(key).map { expect(key, "an array of numbers", it as? JsonNumber).value }

/** The integer that a number is, or null for another value. */
internal fun integerOrNull(value: Json): Int? {
    val number = (value as? JsonNumber)?.value ?: return null
    return number.toInt().takeIf { it.toDouble() == number }
}

private fun <T : Any> expect(key: String, kind: String, value: T?): T =
    value ?: throw JsonException("the entry \"$key\" is not $kind")

private fun quoted(text: String): String = buildString {
    append('"')
    for (char in text) {
        when {
            char == '"' || char == '\\' -> append('\\').append(char)
            char in ' '..'~' -> append(char)
            else -> append("\\u").append(char.code.toString(16).padStart(4, '0'))
        }
    }
    append('"')
}
