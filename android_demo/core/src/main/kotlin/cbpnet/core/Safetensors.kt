package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The content of a safetensors file.
 *
 * The format: the header's length (8 bytes, little-endian), the header, a JSON object, then the
 * tensors' bytes without a gap. https://github.com/huggingface/safetensors
 *
 * @property metadata strings by name.
 * @property tensors by name.
 */
public class Safetensors(
    public val metadata: Map<String, String>,
    public val tensors: Map<String, StoredTensor>,
) {
    /** The largest values first, so that all are aligned. */
    private val inOrder = tensors.entries.sortedWith(compareBy({ -it.value.type.size }, { it.key }))

    /** The file's bytes. */
    public fun toBytes(): ByteArray {
        val header = header()
        val size = LENGTH + header.size + tensors.values.sumOf { it.bytes.size }
        val bytes = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN)
        bytes.putLong(header.size.toLong()).put(header)
        for ((_, tensor) in inOrder) bytes.put(tensor.bytes)
        return bytes.array()
    }

    /** The header, filled up with spaces so that the tensors' bytes are aligned. */
    private fun header(): ByteArray {
        val entries = LinkedHashMap<String, Json>()
        entries[METADATA] = JsonObject(metadata.mapValues { JsonText(it.value) })
        var start = 0
        for ((name, tensor) in inOrder) {
            val end = start + tensor.bytes.size
            entries[name] = JsonObject(
                "dtype" to JsonText(tensor.type.name),
                "shape" to JsonArray(tensor.shape.map(::JsonNumber)),
                "data_offsets" to JsonArray(listOf(JsonNumber(start), JsonNumber(end))),
            )
            start = end
        }
        val text = JsonObject(entries).toString()
        return text.padEnd((text.length + LENGTH - 1) / LENGTH * LENGTH).toByteArray()
    }

    public companion object {
        private const val LENGTH = 8
        private const val METADATA = "__metadata__"

        /**
         * Reads a file's bytes.
         *
         * @throws JsonException they are no safetensors, cut short, or hold another kind of tensor.
         */
        public fun parse(bytes: ByteArray): Safetensors {
            val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
            val length = if (bytes.size < LENGTH) -1 else buffer.getLong()
            if (length < 2 || length > bytes.size - LENGTH) throw JsonException("it is cut short or of another format")
            val start = LENGTH + length.toInt()
            val header = parseJson(String(bytes, LENGTH, length.toInt(), Charsets.UTF_8))
            val metadata = if (METADATA in header.entries) header.child(METADATA) else JsonObject()
            val entries = (header.entries.keys - METADATA).associateWith { header.child(it) }
            checkOffsets(entries, bytes.size - start)
            return Safetensors(
                metadata.entries.mapValues { metadata.text(it.key) },
                entries.mapValues { (_, entry) -> tensor(bytes, start, entry) },
            )
        }

        /** Checks that the tensors fill [size] bytes without a gap. */
        private fun checkOffsets(entries: Map<String, JsonObject>, size: Int) {
            val parts = entries.values.map { it.integers("data_offsets") }
            if (parts.any { it.size != 2 }) throw JsonException("\"data_offsets\" must be a start and an end")
            val end = parts.sortedWith(compareBy({ it[0] }, { it[1] })).fold(0) { expected, (from, to) ->
                if (from != expected || to < from) throw JsonException("the tensors leave a gap or overlap")
                to
            }
            if (end != size) throw JsonException("its tensors take $end bytes and it has $size: it is cut short")
        }

        private fun tensor(bytes: ByteArray, start: Int, entry: JsonObject): StoredTensor {
            val type = StoredType.entries.find { it.name == entry.text("dtype") }
                ?: throw JsonException("a tensor is ${entry.text("dtype")}, none of ${StoredType.entries}")
            val shape = shape(entry)
            val (from, to) = entry.integers("data_offsets")
            if (elements(shape).toLong() * type.size != (to - from).toLong()) {
                throw JsonException("a tensor of the shape $shape has ${to - from} bytes")
            }
            return StoredTensor(type, shape, bytes.copyOfRange(start + from, start + to))
        }
    }
}
