package cbpnet.core

/** Numbers in a shape, row-major; whoever holds a tensor must not write into another's values. */
public sealed interface Tensor {
    /** The length of each axis. */
    public val shape: List<Int>
}

/**
 * A tensor of 32-bit floats.
 *
 * @throws IllegalArgumentException the number of [values] is not the product of the [shape].
 */
public class FloatTensor(public val values: FloatArray, override val shape: List<Int>) : Tensor {
    init {
        checkSize(values.size, shape)
    }

    public companion object {
        /** Zeros in a shape. */
        public fun zeros(shape: List<Int>): FloatTensor = FloatTensor(FloatArray(elements(shape)), shape)
    }
}

/**
 * A tensor of 64-bit integers, as class numbers are.
 *
 * @throws IllegalArgumentException the number of [values] is not the product of the [shape].
 */
public class LongTensor(public val values: LongArray, override val shape: List<Int>) : Tensor {
    init {
        checkSize(values.size, shape)
    }
}

/** The number of values in a shape. */
internal fun elements(shape: List<Int>): Int = shape.fold(1, Math::multiplyExact)

private fun checkSize(values: Int, shape: List<Int>) {
    require(values == elements(shape)) { "$values values do not fill the shape $shape" }
}
