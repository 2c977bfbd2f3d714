package cbpnet.core

/**
 * Reads a JSON object, as RFC 8259 has it, and the numbers `NaN` and `Infinity` that Python writes.
 *
 * @throws JsonException the text is no JSON object; the message names the place.
 */
public fun parseJson(text: String): JsonObject {
    val parser = JsonParser(text)
    return parser.document() as? JsonObject ?: throw JsonException("the text is not a JSON object")
}

/** Deeper nesting is an attack on the stack, not data. */
private const val DEEPEST = 100
private val NUMBER = Regex("""-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?""")
private val WORDS = mapOf(
    "true" to JsonBoolean(true),
    "false" to JsonBoolean(false),
    "null" to JsonNull,
    "NaN" to JsonNumber("NaN"),
    "Infinity" to JsonNumber("Infinity"),
    "-Infinity" to JsonNumber("-Infinity"),
)
private val ESCAPES = mapOf(
    '"' to '"', '\\' to '\\', '/' to '/', 'b' to '\b', 'f' to '\u000C', 'n' to '\n', 'r' to '\r', 't' to '\t',
)

private class JsonParser(private val text: String) {
    private var position = 0

    fun document(): Json {
        val value = value(DEEPEST)
        skipSpace()
        if (position < text.length) fail("nothing")
        return value
    }

    private fun value(depth: Int): Json {
        skipSpace()
        return when (text.getOrNull(position)) {
            '{' -> if (depth > 0) jsonObject(depth - 1) else fail("less nesting")
            '[' -> if (depth > 0) jsonArray(depth - 1) else fail("less nesting")
            '"' -> JsonText(string())
            else -> word() ?: number()
        }
    }

    private fun jsonObject(depth: Int): JsonObject {
        val entries = LinkedHashMap<String, Json>()
        members('{', '}') {
            skipSpace()
            if (text.getOrNull(position) != '"') fail("a key")
            val key = string()
            skipSpace()
            take(':')
            entries[key] = value(depth)
        }
        return JsonObject(entries)
    }

    private fun jsonArray(depth: Int): JsonArray {
        val items = mutableListOf<Json>()
        members('[', ']') { items += value(depth) }
        return JsonArray(items)
    }

    private inline fun members(open: Char, close: Char, member: () -> Unit) {
        take(open)
        skipSpace()
        if (text.getOrNull(position) != close) {
            while (true) {
                member()
                skipSpace()
                if (text.getOrNull(position) != ',') break
                position++
            }
        }
        take(close)
    }

    private fun word(): Json? {
        val (word, value) = WORDS.entries.find { text.startsWith(it.key, position) } ?: return null
        position += word.length
        return value
    }

    private fun number(): JsonNumber {
        val match = NUMBER.matchAt(text, position) ?: fail("a value")
        position = match.range.last + 1
        return JsonNumber(match.value)
    }

    private fun string(): String = buildString {
        take('"')
        while (true) {
            when (val char = text.getOrNull(position++)) {
                null -> fail("the end of a string")
                '"' -> return@buildString
                '\\' -> append(escaped())
                else -> if (char < ' ') fail("an escaped control character") else append(char)
            }
        }
    }

    private fun escaped(): Char {
        val kind = text.getOrNull(position++)
        if (kind != 'u') return ESCAPES[kind] ?: fail("an escape")
        val digits = text.substring(position, minOf(position + 4, text.length))
        if (digits.length < 4 || digits.any { it.digitToIntOrNull(16) == null }) fail("four hexadecimal digits")
        position += 4
        return digits.toInt(16).toChar()
    }

    private fun take(char: Char) {
        if (text.getOrNull(position) != char) fail("'$char'")
        position++
    }

    private fun skipSpace() {
        while (text.getOrNull(position) in " \t\n\r") position++
    }

    private fun fail(wanted: String): Nothing =
        throw JsonException("at character $position of the JSON text there should be $wanted")

    private operator fun String.contains(char: Char?): Boolean = char != null && indexOf(char) >= 0
}
