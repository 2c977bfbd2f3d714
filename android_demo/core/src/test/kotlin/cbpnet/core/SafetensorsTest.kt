package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class SafetensorsTest {
    @Test
    fun itReadsTensorsInAnyOrder() {
        val header = """{"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},
            "empty":{"dtype":"F32","shape":[2,0],"data_offsets":[8,8]}}"""
        val file = Safetensors.parse(bytes(header, 1.5f, -2f, 3f))
        assertEquals(mapOf("k" to "v"), file.metadata)
        assertArrayEquals(floatArrayOf(1.5f, -2f), file.tensors.getValue("b").floats().values, 0f)
        assertArrayEquals(floatArrayOf(3f), file.tensors.getValue("a").floats().values, 0f)
        assertEquals(listOf(1, 1), file.tensors.getValue("a").shape)
        assertEquals(listOf(2, 0), file.tensors.getValue("empty").shape)
    }

    @Test
    fun whatItWritesComesBackAndIsAligned() {
        val values = floatArrayOf(0f, -0f, Float.NaN, Float.POSITIVE_INFINITY, Float.MIN_VALUE, 1e30f)
        val written = Safetensors(
            mapOf("info" to "é\n\"", "x" to ""),
            mapOf("w" to FloatTensor(values, listOf(2, 3)), "a" to FloatTensor.zeros(listOf(1))).mapValues {
                StoredTensor.of(it.value)
            },
        ).toBytes()
        assertEquals(0L, ByteBuffer.wrap(written).order(ByteOrder.LITTLE_ENDIAN).getLong() % 8)
        val read = Safetensors.parse(written)
        assertEquals(mapOf("info" to "é\n\"", "x" to ""), read.metadata)
        assertEquals(setOf("a", "w"), read.tensors.keys)
        assertEquals(values.map(Float::toRawBits), read.tensors.getValue("w").floats().values.map(Float::toRawBits))
        assertEquals(listOf(2, 3), read.tensors.getValue("w").shape)
    }

    @Test
    fun everyTruncationIsRefused() {
        val whole = Safetensors(mapOf("k" to "v"), mapOf("a" to StoredTensor.of(FloatTensor.zeros(listOf(4))))).toBytes()
        for (length in whole.indices) {
            assertThrows("$length", JsonException::class.java) { Safetensors.parse(whole.copyOf(length)) }
        }
        assertThrows(JsonException::class.java) { Safetensors.parse(whole + 0) }
    }

    @Test
    fun contradictionsAreRefused() {
        fun header(dtype: String, shape: String, from: Long, to: Long) =
            """{"a":{"dtype":"$dtype","shape":$shape,"data_offsets":[$from,$to]}}"""
        val wrong = listOf(
            header("F16", "[2]", 0, 8), header("F32", "[3]", 0, 8), header("F32", "[2]", 4, 12),
            header("F32", "[-2]", 0, 8), header("F32", "[65536,65536]", 0, 8), header("F32", "[1]", 8, 4),
            header("F32", "[2]", 0, 1L shl 40),
            """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}""", """{"a":1}""", """{"__metadata__":{"a":1}}""",
        )
        for (text in wrong) {
            assertThrows(text, JsonException::class.java) { Safetensors.parse(bytes(text, 1f, 2f)) }
        }
    }

    private fun bytes(header: String, vararg values: Float): ByteArray {
        val text = header.toByteArray()
        val buffer = ByteBuffer.allocate(8 + text.size + 4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
        buffer.putLong(text.size.toLong()).put(text)
        values.forEach(buffer::putFloat)
        return buffer.array()
    }
}
