package cbpnet.core

/** The tensors of a learner's state, or sums of them, by name. */
internal typealias State = Map<String, FloatTensor>

// What a bundle puts before a name where a method takes or gives tensors of the state, sums over
// images, the state of an adaptation, and pairs of features before and after it.
internal const val STATE = "state."
internal const val SUMS = "sums."
internal const val ADAPTATION = "adaptation."
internal const val DRIFT = "drift."

/** Tensors under their names with a prefix. */
internal fun prefixed(prefix: String, tensors: State): Map<String, Tensor> = tensors.mapKeys { prefix + it.key }

/** Those of some tensors that have a prefix, under their names without it. */
internal fun unprefixed(prefix: String, tensors: Map<String, Tensor>): State =
    tensors.keys.filter { it.startsWith(prefix) }.associate { it.removePrefix(prefix) to tensors.float(it) }

/** The floats of a name. */
internal fun Map<String, Tensor>.float(name: String): FloatTensor = getValue(name) as FloatTensor

/** The only number of a tensor. */
internal fun State.number(name: String): Float = getValue(name).values.single()

/** One number as a tensor. */
internal fun number(value: Float): FloatTensor = FloatTensor(floatArrayOf(value), listOf(1))

/** Zeros in the shapes of what a method gives under names with a prefix. */
internal fun MethodInfo.zeros(prefix: String): State = outputs.filter { it.name.startsWith(prefix) }
    .associate { it.name.removePrefix(prefix) to FloatTensor.zeros(it.shape) }

/** The rows of a matrix. */
internal fun rows(matrix: FloatTensor): List<FloatArray> {
    val (rows, columns) = matrix.shape
    return List(rows) { matrix.values.copyOfRange(it * columns, (it + 1) * columns) }
}

/** A tensor [C] that is 1 for some classes. */
internal fun marks(members: Set<Int>, classes: Int): FloatTensor =
    FloatTensor(FloatArray(classes) { if (it in members) 1f else 0f }, listOf(classes))
