package cbpnet.core

/** When a learner adapts its features, under the name that the manifest gives it. */
internal enum class AdaptationKind(val label: String) {
    AUTO("auto"),
    FIRST("first"),
    ALWAYS("always"),
    NEVER("never"),
    CBPNET("cbpnet"), // the paper's learner, which trains on every task
}

/**
 * What a host needs of a learner's settings.
 *
 * @property kind when a lesson adapts the features.
 * @property fewestClasses that a lesson adapts to by its own choice.
 * @property share of the classes known beside a lesson's own: with fewer classes than that none adapts.
 * @property confidence of the pretrained classifier, in [0, 1]: images below it are foreign.
 * @property accuracy of a lesson, in [0, 1]: where there is no classifier, its images are foreign below it.
 * @property epochs passes over the pictures of a lesson that trains prompts.
 * @property finalRate the share, in [0, 1], to which the learning rates fall.
 * @property priors what a one-pass learner chooses the regularisation of its readout among.
 * @property scales what it chooses the scale of its scores among.
 * @property tellsUnknown whether its readout tells images that are like nothing known.
 */
internal class LearnerSettings(
    val kind: AdaptationKind,
    val fewestClasses: Int,
    val share: Double,
    val confidence: Double,
    val accuracy: Double,
    val epochs: Int,
    val finalRate: Double,
    val priors: List<Double>,
    val scales: List<Double>,
    val tellsUnknown: Boolean,
) {
    /** Whether this is the one-pass learner, and not the paper's. */
    val onePass: Boolean get() = kind != AdaptationKind.CBPNET

    companion object {
        /** Reads the manifest's `config`. */
        fun read(config: JsonObject): LearnerSettings {
            val adaptation = config.child("adaptation")
            val readout = config.child("readout")
            val label = adaptation.text("kind")
            val found = LearnerSettings(
                AdaptationKind.entries.find { it.label == label }
                    ?: throw JsonException("the adaptation \"$label\" is not known to the app"),
                adaptation.integer("fewest_classes"),
                adaptation.number("share"),
                adaptation.number("confidence"),
                adaptation.number("accuracy"),
                adaptation.integer("epochs"),
                adaptation.number("final_rate"),
                readout.numbers("priors"),
                readout.numbers("scales"),
                readout.text("kind") == "whitened",
            )
            val holds = found.epochs >= 1 && found.finalRate in 0.0..1.0 &&
                listOf(found.priors, found.scales).all { it.isNotEmpty() && it.min() > 0 }
            if (!holds) throw JsonException("\"adaptation\" or \"readout\" is not possible: $adaptation, $readout")
            return found
        }
    }
}
