package cbpnet.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class JsonTest {
    @Test
    fun itReadsEveryKindOfValue() {
        val json = parseJson(
            """ {"a": [1, -2.5e-3, true, false, null, ""], "d": {}, "e": [],
                 "b": {"c": "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00ü"}} """,
        )
        assertEquals("\"\\/\b\u000C\n\r\té😀ü", json.child("b").text("c"))
        val words = listOf(JsonBoolean(true), JsonBoolean(false), JsonNull, JsonText(""))
        assertEquals(listOf(JsonNumber("1"), JsonNumber("-0.0025")) + words, json.items("a"))
        assertEquals(listOf("a", "d", "e", "b"), json.entries.keys.toList())
    }

    @Test
    fun whatItWritesIsWhatPythonWrites() {
        val numbers = "[1, 1.0, 1e-05, Infinity, -Infinity, NaN]"
        val text = """{"a": $numbers, "b\u00e9\ud83d\ude00": {"c": null}, "\"\\\n": true}"""
        assertEquals(text.replace("\\n", "\\u000a"), parseJson(text).toString())
    }

    @Test
    fun numbersAreEqualByValueAndKeepTheirForm() {
        assertEquals(JsonNumber("1"), JsonNumber("1.0"))
        assertEquals(JsonNumber("0.0001"), JsonNumber("1e-4"))
        assertNotEquals(JsonNumber("1"), JsonNumber("2"))
    }

    @Test
    fun whatIsNoJsonIsRefused() {
        val wrong = listOf(
            "", "{", "[1]", "1", "{\"a\" 1}", "{\"a\": 1,}", "{\"a\": 01}", "{\"a\": +1}", "{\"a\": .5}",
            "{\"a\": 1} 2", "{\"a\": \"\\x\"}", "{\"a\": \"\\u12g4\"}", "{\"a\": \"\\u12\"}", "{\"a\": \"b", "{a: 1}",
            "{\"a\": \"\n\"}", "{\"a\": truth}", "{\"a\": }", "{\"a\": [1 2]}",
        )
        for (text in wrong) assertThrows(text, JsonException::class.java) { parseJson(text) }
    }

    @Test
    fun deepNestingIsRefusedBeforeTheStackOverflows() {
        assertThrows(JsonException::class.java) { parseJson("{\"a\": " + "[".repeat(1_000_000)) }
    }

    @Test
    fun anEntryOfAnotherKindIsNamed() {
        val json = parseJson("""{"a": 1.5, "b": ["x", 2]}""")
        val reads = listOf<() -> Any>(
            { json.integer("a") }, { json.text("a") }, { json.child("a") }, { json.items("a") }, { json["none"] },
            { json.texts("b") }, { json.numbers("b") }, { json.integers("b") }, { json.children("b") },
        )
        for (read in reads) {
            val message = assertThrows(JsonException::class.java) { read() }.message!!
            assertEquals(message, 1, listOf("\"a\"", "\"b\"", "\"none\"").count { it in message })
        }
    }
}
