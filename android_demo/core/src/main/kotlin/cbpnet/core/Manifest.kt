package cbpnet.core

import java.nio.charset.CharacterCodingException

/** The type of a tensor's values, under the name that the manifest gives it. */
public enum class DType(internal val label: String) {
    FLOAT32("float32"),
    INT64("int64"),
}

/** A tensor that a method takes or gives. */
public data class TensorInfo(val name: String, val dtype: DType, val shape: List<Int>)

/** What the first axis of a state tensor may count, under the name that the manifest gives it. */
public enum class Counted(internal val label: String) {
    CLASSES("classes"),
    TASKS("tasks"),
}

/** A tensor of the learner's state; [counts] is what its first axis counts, if classes or tasks. */
public data class StateTensor(val shape: List<Int>, val counts: Counted?)

/** A method's tensors in the order in which they are passed. */
public data class MethodInfo(val inputs: List<TensorInfo>, val outputs: List<TensorInfo>)

/** The backbone: timm's name, parameters without head, width D and the weights' fingerprint. */
public data class Backbone(val name: String, val parameters: Long, val dim: Int, val weights: String)

/**
 * What a bundle says of itself, as docs/bundle.md describes it.
 *
 * @property target whose delegate runs the frozen layers, for instance `xnnpack`.
 * @property precision `int8` or `fp32`.
 * @property preprocessing how the backbone wants its images.
 * @property classes capacity C in classes.
 * @property tasks capacity T in tasks; a one-pass learner has none.
 * @property classNames labels of the classes that `initial_state` knows, by class number.
 * @property microBatch images m of a call; a method takes [m, 3, S, S].
 * @property trainableParameters of prompts and block; [trainableFraction] is their share of the
 *   backbone's parameters. [headParameters] are in neither.
 * @property state the state's tensors by name, in order.
 * @property adaptation those of what a one-pass learner trains and throws away.
 * @property methods every method by name.
 * @property source the JSON that all this was read from.
 */
public class Manifest private constructor(
    public val target: String,
    public val precision: String,
    public val backbone: Backbone,
    public val preprocessing: Preprocessing,
    internal val settings: LearnerSettings,
    public val classes: Int,
    public val tasks: Int,
    public val classNames: List<String>,
    public val microBatch: Int,
    public val trainableParameters: Int,
    public val trainableFraction: Double,
    public val headParameters: Int,
    public val state: Map<String, StateTensor>,
    public val adaptation: Map<String, StateTensor>,
    public val methods: Map<String, MethodInfo>,
    public val source: JsonObject,
) {
    /** Whether the learner learns in one pass, and not task after task. */
    public val onePass: Boolean get() = settings.onePass

    /** The features [n, F] that a one-pass learner counts in one call. */
    internal val countedFeatures: TensorInfo
        get() = method("observe").inputs.find { it.name == "x" && it.shape.size == 2 && it.shape[0] > 0 }
            ?: throw JsonException("the method observe takes no x of rows")

    /** A method's tensors; every one of the learner's is there. */
    public fun method(name: String): MethodInfo = methods.getValue(name)

    public companion object {
        /**
         * Reads a manifest's bytes, JSON in UTF-8.
         *
         * @throws InputException they are something else, an entry is missing or of another kind, or
         *   the entries contradict each other.
         */
        public fun parse(content: ByteArray): Manifest = try {
            read(parseJson(decoded(content))).also(::checkManifest)
        } catch (error: JsonException) {
            throw InputException(
                "The bundle's description of itself cannot be read: ${error.message}. Export the bundle again.",
                error,
            )
        }

        private fun decoded(content: ByteArray): String = try {
            content.decodeToString(throwOnInvalidSequence = true)
        } catch (error: CharacterCodingException) {
            throw JsonException("it is not text in UTF-8")
        }

        private fun read(json: JsonObject) = Manifest(
            target = json.text("target"),
            precision = json.text("precision"),
            backbone = json.child("backbone").let {
                Backbone(it.text("name"), it.number("parameters").toLong(), it.integer("dim"), it.text("weights"))
            },
            preprocessing = Preprocessing.read(json.child("preprocessing")),
            settings = LearnerSettings.read(json.child("config")),
            classes = json.integer("classes"),
            tasks = json.integer("tasks"),
            classNames = json.texts("class_names"),
            microBatch = json.integer("micro_batch"),
            trainableParameters = json.integer("trainable_parameters"),
            trainableFraction = json.number("trainable_fraction"),
            headParameters = json.integer("head_parameters"),
            state = layout(json, "state"),
            adaptation = layout(json, "adaptation"),
            methods = json.child("methods").run { entries.keys.associateWith { method(child(it)) } },
            source = json,
        )

        private fun method(json: JsonObject) =
            MethodInfo(json.children("inputs").map(::tensor), json.children("outputs").map(::tensor))

        private fun layout(json: JsonObject, key: String) =
            json.children(key).associate { it.text("name") to stateTensor(it, key) }

        private fun stateTensor(json: JsonObject, key: String): StateTensor {
            val counts = json["counts"]
            val counted = Counted.entries.find { JsonText(it.label) == counts }
            if (counted == null && counts != JsonNull) {
                throw JsonException("a tensor of \"$key\" counts $counts, neither \"classes\" nor \"tasks\"")
            }
            return StateTensor(shape(json), counted)
        }

        private fun tensor(json: JsonObject): TensorInfo {
            val label = json.text("dtype")
            val dtype = DType.entries.find { it.label == label }
                ?: throw JsonException("a tensor's type is \"$label\", neither float32 nor int64")
            return TensorInfo(json.text("name"), dtype, shape(json))
        }
    }
}

/** What to say of a [thing], a bundle or a state, whose format another version made. */
internal fun otherVersion(thing: String, found: Int, known: Int): InputException {
    val why = if (found > known) {
        "it was made by a newer cbpnet-mobile. Update the app, or export the $thing again with an older one."
    } else {
        "it was made by an older cbpnet-mobile. Export the $thing again with a newer one."
    }
    return InputException("This $thing has format version $found, and the app reads version $known: $why")
}

/** The shape under `shape`: lengths of 0 or more, of which the product is not too large. */
internal fun shape(json: JsonObject): List<Int> {
    val shape = json.integers("shape")
    val fits = shape.all { it >= 0 } && shape.fold(1.0) { product, length -> product * length } <= LARGEST
    if (!fits) throw JsonException("a tensor's shape is $shape, which cannot be")
    return shape
}

/** Values of the largest tensor that is taken for real: a gigabyte of floats. */
private const val LARGEST = (1 shl 28).toDouble()
