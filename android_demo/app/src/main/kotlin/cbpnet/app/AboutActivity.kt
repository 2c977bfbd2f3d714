package cbpnet.app

import android.app.Activity
import android.os.Build
import android.os.Bundle
import android.widget.TextView

/** What the bundle costs, and what was measured on this phone. */
class AboutActivity : Activity() {
    private val showState = ::show

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.about)
    }

    override fun onStart() {
        super.onStart()
        demo.learner.state.observe(showState)
    }

    override fun onStop() {
        demo.learner.state.ignore(showState)
        super.onStop()
    }

    private fun show(state: LearnerState) {
        view<TextView>(R.id.about_bundle).text =
            if (state is LearnerState.Ready) budget(state) else getString(R.string.no_bundle)
        view<TextView>(R.id.about_phone).text = measured()
    }

    private fun budget(state: LearnerState.Ready): String {
        val manifest = state.session.manifest
        val knowledge = state.session.knowledge
        return getString(
            R.string.budget,
            manifest.backbone.name,
            manifest.backbone.parameters / 1e6,
            manifest.precision,
            manifest.target,
            state.bundle.length() / 1e6,
            manifest.trainableParameters,
            100 * manifest.trainableFraction,
            manifest.headParameters,
            knowledge.classNames.size,
            manifest.classes,
            knowledge.lessons,
        )
    }

    private fun measured(): String {
        val phone = getString(R.string.phone, Build.MANUFACTURER, Build.MODEL, Build.VERSION.RELEASE)
        val image = demo.measurements.imageMillis?.let { getString(R.string.measured_image, it) }
        val step = demo.measurements.stepMillis?.let { getString(R.string.measured_step, it) }
        return listOfNotNull(phone, image ?: getString(R.string.not_measured), step).joinToString("\n")
    }
}
