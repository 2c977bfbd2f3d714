package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The type of a stored tensor's values, under its name in safetensors; [size] is that of one in bytes. */
public enum class StoredType(internal val size: Int) {
    F32(Float.SIZE_BYTES),
    F16(Short.SIZE_BYTES),
    I32(Int.SIZE_BYTES),
    U64(ULong.SIZE_BYTES),
}

/**
 * A tensor as it stands in a file.
 *
 * @property bytes its values, row-major and little-endian.
 * @throws IllegalArgumentException there are more or fewer bytes than the shape has values.
 */
public class StoredTensor(public val type: StoredType, public val shape: List<Int>, public val bytes: ByteArray) {
    init {
        require(bytes.size == type.size * elements(shape)) { "${bytes.size} bytes do not fill the shape $shape" }
    }

    private val count get() = elements(shape)

    /**
     * The floats.
     *
     * @throws JsonException they are values of another type, as for the functions below.
     */
    public fun floats(): FloatTensor {
        val values = FloatArray(count)
        of(StoredType.F32).asFloatBuffer().get(values)
        return FloatTensor(values, shape)
    }

    /** The bits of the numbers in fp16. */
    internal fun halves(): ShortArray = ShortArray(count).also { of(StoredType.F16).asShortBuffer().get(it) }

    /** The integers. */
    internal fun integers(): List<Int> = of(StoredType.I32).asIntBuffer().let { values -> List(count, values::get) }

    /** The keys. */
    internal fun keys(): List<ULong> =
        of(StoredType.U64).asLongBuffer().let { values -> List(count) { values.get(it).toULong() } }

    private fun of(wanted: StoredType): ByteBuffer {
        if (type != wanted) throw JsonException("a tensor is $type, not $wanted")
        return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    }

    internal companion object {
        fun of(tensor: FloatTensor): StoredTensor =
            filled(StoredType.F32, tensor.shape) { asFloatBuffer().put(tensor.values) }

        fun of(rows: HalfRows): StoredTensor =
            filled(StoredType.F16, listOf(rows.size, rows.width)) { asShortBuffer().put(rows.bits) }

        fun ofIntegers(values: List<Int>): StoredTensor =
            filled(StoredType.I32, listOf(values.size)) { values.forEach(::putInt) }

        fun ofKeys(values: List<ULong>): StoredTensor =
            filled(StoredType.U64, listOf(values.size)) { values.forEach { putLong(it.toLong()) } }

        private fun filled(type: StoredType, shape: List<Int>, fill: ByteBuffer.() -> Unit): StoredTensor {
            val buffer = ByteBuffer.allocate(type.size * elements(shape)).order(ByteOrder.LITTLE_ENDIAN)
            buffer.fill()
            return StoredTensor(type, shape, buffer.array())
        }
    }
}
